"""What becomes of a submitted job: the states that it goes through before it runs, and how it ended."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.azure_emulator.jobs.contract import TERMINAL
from tests.azure_emulator.machine_learning.job_runs import job_run
from tests.azure_emulator.resources import Resource, now

if TYPE_CHECKING:
    from tests.azure_emulator.world import World

_STEP_SECONDS = 0.3
_CAPACITY_POLL_SECONDS = 0.25


class Jobs:
    """Every job's way: Starting, Preparing (its image), Queued (its node), then the runner's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.RLock()
        self._submitted: dict[str, Resource] = {}
        self._built: set[str] = set()
        self.executed: list[str] = []
        self.build_fails = False

    def begin(self, job: Resource) -> None:
        """Once a job; a second call for the same name does nothing."""
        with self._lock:
            if job.body["name"] in self._submitted:
                self._submitted[job.body["name"]] = job
                return
            self._submitted[job.body["name"]] = job
        job.hidden["created"] = now()
        self._say(job, "Starting")
        self._world.clock.after(_STEP_SECONDS, lambda: self._prepare(job))

    def is_built(self, environment: str) -> bool:
        """Whether the workspace has the environment's image: jobs and endpoints share it."""
        return environment.lower() in self._built

    def mark_built(self, environment: str) -> None:
        self._built.add(environment.lower())

    def names_in(self, workspace: str) -> list[str]:
        with self._lock:
            return [n for n, job in self._submitted.items() if job.id.lower().startswith(workspace.lower() + "/")]

    def forget(self, name: str) -> None:
        """The job went with its workspace."""
        with self._lock:
            self._submitted.pop(name, None)

    def cancel(self, job: Resource) -> None:
        """Asks for the end. A job that has ended stays as it ended."""
        with self._lock:
            status = self._now(job).properties["status"]
            if status in TERMINAL or status in ("CancelRequested",):
                return
            running = job.body["name"] in self.executed
            self._say(job, "CancelRequested")
        if running:
            self._world.runner.cancel(job.body["name"])
        else:
            self._world.clock.after(_STEP_SECONDS, lambda: self._end(job, "Canceled", None, None))

    def _now(self, job: Resource) -> Resource:
        # A PUT of new labels makes a new resource of the same id.
        return self._world.resources.find(job.id) or job

    def _say(self, job: Resource, status: str) -> None:
        current = self._now(job)
        current.properties["status"] = status
        current.hidden.setdefault("history", []).append(status)

    def _waiting(self, job: Resource) -> bool:
        return self._now(job).properties["status"] not in (*TERMINAL, "CancelRequested")

    def _prepare(self, job: Resource) -> None:
        with self._lock:
            if not self._waiting(job):
                return
            self._say(job, "Preparing")
            environment = self._now(job).properties["environmentId"].lower()
            needs_build = environment not in self._built and self._is_build(environment)
        self._world.clock.after(1.0 if needs_build else 0.0, lambda: self._build(job, environment, needs_build))

    def _is_build(self, environment: str) -> bool:
        resource = self._world.resources.find(environment)
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
            cluster = self._world.resources.find(self._now(job).properties["computeId"])
            if cluster is None:
                self._end(job, "Failed", "UserError", "The compute target was deleted while the job waited for it.")
                return
            if self._world.clusters.take(cluster, job.body["name"]):
                self._start(job, cluster)
                return
        self._world.clock.after(_CAPACITY_POLL_SECONDS, lambda: self._queue(job))

    def _start(self, job: Resource, cluster: Resource) -> None:
        current = self._now(job)
        run = job_run(self._world, job.id, current.properties, cluster)
        self.executed.append(job.body["name"])
        self._world.runner.start(run, lambda s, c, m: self._heard(job, cluster.id, s, c, m))

    def _heard(self, job: Resource, cluster: str, status: str, code: str | None, message: str | None) -> None:
        """What the runner says of a job."""
        with self._lock:
            if status in TERMINAL:
                self._world.clusters.give_back(cluster, job.body["name"])
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
            return list(self._now(self._submitted[name]).hidden.get("history", []))
