"""What becomes of a submitted job: the states that it goes through before it runs, and how it ended."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from azure_emulator.jobs.contract import TERMINAL
from azure_emulator.machine_learning.images import registry_without_pull_access
from azure_emulator.machine_learning.job_runs import job_run
from azure_emulator.resource_manager.resource_ids import name_of, parent_of
from azure_emulator.resource_manager.resources import Resource, now

if TYPE_CHECKING:
    from azure_emulator.emulator import Emulator

_STEP_SECONDS = 0.3
_CAPACITY_POLL_SECONDS = 0.25


class Jobs:
    """Every job's way: Starting, Preparing (its image), Queued (its node), then the runner's."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._lock = threading.RLock()
        self._submitted: dict[str, Resource] = {}  # by lower-cased id
        self._started: set[str] = set()
        self._built: set[str] = set()
        self.executed: list[str] = []  # names, in the order in which their commands were started
        self.build_fails = False

    def begin(self, job: Resource) -> None:
        """Once a job; a second call for the same id does nothing."""
        with self._lock:
            known = job.id.lower() in self._submitted
            self._submitted[job.id.lower()] = job
            if known:
                return
        job.hidden["created"] = now()
        self._say(job, "Starting")
        self._emulator.clock.after(_STEP_SECONDS, lambda: self._prepare(job))

    def is_built(self, environment: str) -> bool:
        """Whether the workspace has the environment's image: jobs and endpoints share it."""
        return environment.lower() in self._built

    def mark_built(self, environment: str) -> None:
        self._built.add(environment.lower())

    def ids_in(self, workspace: str) -> list[str]:
        with self._lock:
            return [id for id in self._submitted if id.startswith(f"{workspace.lower()}/")]

    def id_of(self, name: str) -> str:
        """The id of the job that was submitted last under the name. Raises KeyError."""
        with self._lock:
            found = [id for id, job in self._submitted.items() if job.body["name"] == name]
        if not found:
            raise KeyError(f"there is no job {name}")
        return found[-1]

    def forget(self, id: str) -> None:
        """The job went with its workspace: whatever still comes of it is not said of another of its id."""
        with self._lock:
            self._submitted.pop(id).hidden["gone"] = True
            self._started.discard(id)

    def cancel(self, job: Resource) -> None:
        """Asks for the end. A job that has ended stays as it ended."""
        with self._lock:
            status = self._now(job).properties["status"]
            if status in TERMINAL or status in ("CancelRequested",):
                return
            running = job.id.lower() in self._started
            self._say(job, "CancelRequested")
        if running:
            self._emulator.runner.cancel(job.id.lower())
        else:
            self._emulator.clock.after(_STEP_SECONDS, lambda: self._end(job, "Canceled", None, None))

    def _now(self, job: Resource) -> Resource:
        # A PUT of new labels makes a new resource of the same id, which keeps what is hidden.
        found = self._emulator.resources.find(job.id)
        return found if found and found.hidden is job.hidden else job

    def _say(self, job: Resource, status: str) -> None:
        current = self._now(job)
        current.properties["status"] = status
        current.hidden.setdefault("history", []).append(status)

    def _waiting(self, job: Resource) -> bool:
        status = self._now(job).properties["status"]
        return not job.hidden.get("gone") and status not in (*TERMINAL, "CancelRequested")

    def _prepare(self, job: Resource) -> None:
        with self._lock:
            if not self._waiting(job):
                return
            self._say(job, "Preparing")
            environment = self._now(job).properties["environmentId"].lower()
            needs_build = environment not in self._built and self._is_build(environment)
        self._emulator.clock.after(1.0 if needs_build else 0.0, lambda: self._build(job, environment, needs_build))

    def _is_build(self, environment: str) -> bool:
        resource = self._emulator.resources.find(environment)
        return bool(resource and resource.properties.get("build"))

    def _build(self, job: Resource, environment: str, needs_build: bool) -> None:
        with self._lock:
            if not self._waiting(job):
                return
            if needs_build and self.build_fails:
                self._end(
                    job,
                    "Failed",
                    "ImageBuildFailure",
                    "Image build failed. For more details, check log file azureml-logs/20_image_build_log.txt.",
                )
                return
            self._built.add(environment)
            self._say(job, "Queued")
        self._queue(job)

    def _queue(self, job: Resource) -> None:
        with self._lock:
            if not self._waiting(job):
                return
            cluster = self._emulator.resources.find(self._now(job).properties["computeId"])
            if cluster is None:
                self._end(job, "Failed", "UserError", "The compute target was deleted while the job waited for it.")
                return
            if self._emulator.clusters.take(cluster, job.body["name"]):
                self._start(job, cluster)
                return
        self._emulator.clock.after(_CAPACITY_POLL_SECONDS, lambda: self._queue(job))

    def _start(self, job: Resource, cluster: Resource) -> None:
        current = self._now(job)
        run = job_run(self._emulator, job.id, current.properties, cluster)
        unauthorized = self._pull_refused(current, run.identity_oid)
        if unauthorized:
            self._emulator.clusters.give_back(cluster.id, job.body["name"])
            self._end(job, "Failed", "UserError", unauthorized)
            return
        self.executed.append(job.body["name"])
        self._started.add(run.id)
        self._emulator.runner.start(run, lambda s, c, m: self._heard(job, cluster.id, s, c, m))

    def _pull_refused(self, job: Resource, oid: str | None) -> str | None:
        """Azure's words when the job's image is the workspace's own and its identity may not pull it.

        azureml-examples#3463 shows the message, MachineLearningNotebooks#1479 what Docker says of it.
        """
        environment = job.properties["environmentId"]
        # Without an identity of its own, the compute pulls as the platform.
        registry = (
            registry_without_pull_access(self._emulator, parent_of(job.id), oid)
            if oid and self._is_build(environment)
            else None
        )
        if registry is None:
            return None
        server = f"{registry.body['name'].lower()}.azurecr.io"
        return (
            f"Failed to pull Docker image {server}/azureml/{name_of(parent_of(environment))}. This error may occur "
            "because the compute could not authenticate with the Docker registry to pull the image. If using ACR "
            "please ensure the ACR has Admin user enabled or a Managed Identity with `AcrPull` access to the ACR is "
            f"assigned to the compute. Get https://{server}/v2/: unauthorized: authentication required"
        )

    def _heard(self, job: Resource, cluster: str, status: str, code: str | None, message: str | None) -> None:
        """What the runner says of a job."""
        with self._lock:
            if job.hidden.get("gone"):
                return
            if status in TERMINAL:
                self._emulator.clusters.give_back(cluster, job.body["name"])
                self._end(job, status, code, message)
                return
            current = self._now(job)
            # Once asked to end, a job that still runs shows CancelRequested.
            if current.properties["status"] != "CancelRequested":
                self._say(job, status)
            if status == "Running":
                current.hidden.setdefault("started", now())

    def _end(self, job: Resource, status: str, code: str | None, message: str | None) -> None:
        with self._lock:
            current = self._now(job)
            if current.properties["status"] in TERMINAL:
                return
            current.hidden["ended"] = now()
            if code:
                current.hidden["error"] = {"code": code, "message": message}
            self._say(job, status)

    def history(self, name: str) -> list[str]:
        with self._lock:
            return list(self._submitted[self.id_of(name)].hidden.get("history", []))
