"""The lifecycle of a submitted job: its states before it runs, and its end."""

from __future__ import annotations

import threading

from azure_emulator.jobs.contract import TERMINAL
from azure_emulator.machine_learning.images import registry_without_pull_access
from azure_emulator.machine_learning.job_runs import job_run
from azure_emulator.resource_manager.resource_ids import name_of, parent_of
from azure_emulator.resource_manager.resources import Resource, now
from azure_emulator.state import EmulatorState

_STEP_SECONDS = 0.3
_CAPACITY_POLL_SECONDS = 0.25


class Jobs:
    """Moves jobs through Starting, Preparing (image) and Queued (node), then hands them to the runner."""

    def __init__(self, emulator: EmulatorState) -> None:
        self._emulator = emulator
        self._lock = threading.RLock()
        self._submitted: dict[str, Resource] = {}  # by lower-cased id
        self._started: set[str] = set()
        self._built: set[str] = set()
        self.executed: list[str] = []  # names, in the order in which their commands were started
        self.build_fails = False

    def begin(self, job: Resource) -> None:
        """Start a new job; a second call for the same id does nothing."""
        with self._lock:
            known = job.id.lower() in self._submitted
            self._submitted[job.id.lower()] = job
            if known:
                return
        job.hidden["created"] = now()
        self._set_status(job, "Starting")
        self._emulator.clock.after(_STEP_SECONDS, lambda: self._prepare(job))

    def is_built(self, environment: str) -> bool:
        """Return whether the environment's image is built; jobs and endpoints share it."""
        return environment.lower() in self._built

    def mark_built(self, environment: str) -> None:
        self._built.add(environment.lower())

    def ids_in(self, workspace: str) -> list[str]:
        with self._lock:
            return [id for id in self._submitted if id.startswith(f"{workspace.lower()}/")]

    def id_of(self, name: str) -> str:
        """Return the id of the job that was submitted last under the name. Raises KeyError."""
        with self._lock:
            found = [id for id, job in self._submitted.items() if job.body["name"] == name]
        if not found:
            raise KeyError(f"there is no job {name}")
        return found[-1]

    def forget(self, id: str) -> None:
        """Forget a job of a deleted workspace, so that its late reports do not reach a new job with its id."""
        with self._lock:
            self._submitted.pop(id).hidden["gone"] = True
            self._started.discard(id)

    def cancel(self, job: Resource) -> None:
        """Request cancellation. A job that has ended does not change."""
        with self._lock:
            status = self._current(job).properties["status"]
            if status in TERMINAL or status in ("CancelRequested",):
                return
            running = job.id.lower() in self._started
            self._set_status(job, "CancelRequested")
        if running:
            self._emulator.runner.cancel(job.id.lower())
        else:
            self._emulator.clock.after(_STEP_SECONDS, lambda: self._end(job, "Canceled", None, None))

    def _current(self, job: Resource) -> Resource:
        # A PUT of new labels replaces the resource but keeps its hidden data.
        found = self._emulator.resources.find(job.id)
        return found if found and found.hidden is job.hidden else job

    def _set_status(self, job: Resource, status: str) -> None:
        current = self._current(job)
        current.properties["status"] = status
        current.hidden.setdefault("history", []).append(status)

    def _waiting(self, job: Resource) -> bool:
        status = self._current(job).properties["status"]
        return not job.hidden.get("gone") and status not in (*TERMINAL, "CancelRequested")

    def _prepare(self, job: Resource) -> None:
        with self._lock:
            if not self._waiting(job):
                return
            self._set_status(job, "Preparing")
            environment = self._current(job).properties["environmentId"].lower()
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
            self._set_status(job, "Queued")
        self._queue(job)

    def _queue(self, job: Resource) -> None:
        with self._lock:
            if not self._waiting(job):
                return
            cluster = self._emulator.resources.find(self._current(job).properties["computeId"])
            if cluster is None:
                self._end(job, "Failed", "UserError", "The compute target was deleted while the job waited for it.")
                return
            if self._emulator.clusters.take(cluster, job.body["name"]):
                self._start(job, cluster)
                return
        self._emulator.clock.after(_CAPACITY_POLL_SECONDS, lambda: self._queue(job))

    def _start(self, job: Resource, cluster: Resource) -> None:
        current = self._current(job)
        run = job_run(self._emulator, job.id, current.properties, cluster)
        unauthorized = self._pull_refused(current, run.identity_oid)
        if unauthorized:
            self._emulator.clusters.give_back(cluster.id, job.body["name"])
            self._end(job, "Failed", "UserError", unauthorized)
            return
        self.executed.append(job.body["name"])
        self._started.add(run.id)
        self._emulator.runner.start(run, lambda s, c, m: self._on_report(job, cluster.id, s, c, m))

    def _pull_refused(self, job: Resource, oid: str | None) -> str | None:
        """Return Azure's message if the job's identity may not pull an image that the workspace built, else None.

        azureml-examples#3463 shows the message, MachineLearningNotebooks#1479 Docker's message.
        """
        environment = job.properties["environmentId"]
        # Compute without an identity pulls as the platform.
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

    def _on_report(self, job: Resource, cluster: str, status: str, code: str | None, message: str | None) -> None:
        """Handle a report of the runner."""
        with self._lock:
            if job.hidden.get("gone"):
                return
            if status in TERMINAL:
                self._emulator.clusters.give_back(cluster, job.body["name"])
                self._end(job, status, code, message)
                return
            current = self._current(job)
            # A running job stays CancelRequested until it ends.
            if current.properties["status"] != "CancelRequested":
                self._set_status(job, status)
            if status == "Running":
                current.hidden.setdefault("started", now())

    def _end(self, job: Resource, status: str, code: str | None, message: str | None) -> None:
        with self._lock:
            current = self._current(job)
            if current.properties["status"] in TERMINAL:
                return
            current.hidden["ended"] = now()
            if code:
                current.hidden["error"] = {"code": code, "message": message}
            self._set_status(job, status)

    def history(self, name: str) -> list[str]:
        with self._lock:
            return list(self._submitted[self.id_of(name)].hidden.get("history", []))
