"""Watches one job until it ends: copies its log into the run, limits its time in the queue, cancels it with the run."""

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.role_delay import call_waiting_for_role, call_with_retries
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log

ENDED = frozenset({"Completed", "Failed", "Canceled"})
# Waiting for a machine. Preparing does not count: the first job of an environment waits while its image is built.
WAITING = frozenset({"NotStarted", "Queued", "Provisioning", "Paused"})
CANCEL_MINUTES = 5.0
APPEARS_WITHIN = 60.0  # seconds in which a submission whose response was lost may still create its job
ALLOWANCE_MINUTES = 60.0  # besides the queue and the job's own limit: for its image, its node and its outputs


class NoMachine(BackendError):
    """No machine was allocated in time."""


class NeverEnded(BackendError):
    """A job that Azure ML did not end at the job's own time limit."""


@dataclass(frozen=True)
class JobLimits:
    """A job's maximum cost in US dollars, its maximum waiting times in minutes, and the polling interval in seconds."""

    vm_size: str
    max_job_cost: float
    queue_minutes: float
    role_minutes: float
    poll_seconds: float


@dataclass(frozen=True)
class Ended:
    """How a job ended, and when it was submitted, in seconds since 1970."""

    name: str
    status: str
    link: str
    submitted: float | None = None


class Watch:
    """One job of the workspace. Every request is retried. A job that the run gives up on keeps running: the next run
    adopts
    it, and its own time limit ends it.
    """

    def __init__(self, clients: AzureClients, name: str, log: Log, limits: JobLimits) -> None:
        self.clients, self.name, self.log, self.limits = clients, name, log, limits
        self.link = ""
        self.over = False  # whether the job is known to have ended
        self.in_flight = False  # whether a submission whose response was lost may have reached Azure

    def now(self) -> Any:
        """The job as Azure ML returns it; None when there is no job of this name. One request, without retries."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self.clients.ml().jobs.get(self.name)
        except ResourceNotFoundError:
            return None

    def get(self) -> Any:
        """As `now`, with retries, also while a role is propagating. Raises AzureRefused or GaveUp."""
        return call_waiting_for_role(self.now, f"reading job {self.name}", self.log, self.limits.role_minutes)

    def to_the_end(self, on_poll: Callable[[], None], seconds: float) -> Ended:
        """Poll the job until it ends, and return how it ended. Calls `on_poll` at each poll.

        `seconds` is the job's own time limit.

        Raises NoMachine when it waits too long for a machine, NeverEnded when it exceeds every limit.
        """
        status, waited = "", 0.0
        began = before = time.monotonic()
        while True:
            job = self.get()
            if job is None:
                self.over = True
                raise BackendError(
                    description=f"job {self.name} no longer exists in the workspace; run again to start a new one"
                )
            if not self.link and job.studio_url:
                self.link = job.studio_url
                self.log(f"job {self.name}: {self.link}")
            if status_of(job) != status:
                status = status_of(job)
                self.log(f"job {self.name}: {status}")
            on_poll()
            if status in ENDED:
                self.over = True
                return ended(job)
            now = time.monotonic()
            # Only Running resets the waiting time: before it, a job may move back and forth between states.
            waited = 0.0 if status == "Running" else waited + (now - before) * (status in WAITING)
            before = now
            if waited > self.limits.queue_minutes * 60:
                raise self._no_machine()
            if now - began > seconds + (self.limits.queue_minutes + ALLOWANCE_MINUTES) * 60:
                raise self._never_ended(status, (now - began) / 60)
            time.sleep(self.limits.poll_seconds)

    def stop(self) -> bool:
        """Cancel the job, and return whether it has ended. Errors are logged, so that they do not hide another
        failure.
        """
        try:
            self.cancel()
        except Exception as e:
            self.log(
                f"job {self.name} could not be cancelled: {e}. It may keep running, and cost money, until its own "
                f"time limit: cancel it in Azure ML Studio. {self.link}".rstrip()
            )
        return self.over

    def cancel(self) -> None:
        """Cancel the job, and wait until it has ended, at most `CANCEL_MINUTES`.

        A job whose submission got no response is polled for `APPEARS_WITHIN` seconds before it counts as never
        submitted.
        """
        self.log(f"cancelling job {self.name}")
        began, requested = time.monotonic(), False
        while time.monotonic() - began < CANCEL_MINUTES * 60:
            job = call_with_retries(self.now, f"reading job {self.name}", self.log)
            waited = time.monotonic() - began
            may_appear = job is None and self.in_flight and not requested and waited < APPEARS_WITHIN
            if (job is None and not may_appear) or (job is not None and status_of(job) in ENDED):
                self.over = True
                self.log(f"job {self.name}: {status_of(job) if job else 'deleted' if requested else 'never submitted'}")
                return
            if job is not None and not requested and status_of(job) != "CancelRequested":
                requested = True
                call_with_retries(self._request_cancel, f"cancelling job {self.name}", self.log)
            time.sleep(min(self.limits.poll_seconds, 2.0))
        self.log(f"job {self.name} has not ended {CANCEL_MINUTES:g} minutes after it was cancelled; see {self.link}")

    def _no_machine(self) -> NoMachine:
        queue = self.limits.queue_minutes
        return NoMachine(
            description=f"job {self.name} waited {queue:g} minutes (PHI_AZURE_QUEUE_MINUTES) and no "
            f"{self.limits.vm_size} was allocated, {self._cancelled()}: Azure has no capacity in "
            f"{self.clients.account.location}, or other jobs hold the quota. Try again "
            f"later, or set another PHI_AZURE_VM_SIZE or PHI_AZURE_LOCATION. "
            f"{self.link}".rstrip(),
            metadata=link_metadata(self.link),
        )

    def _never_ended(self, status: str, minutes: float) -> NeverEnded:
        return NeverEnded(
            description=f"job {self.name} was still {status} after {minutes:.0f} minutes, longer than its own limit, "
            f"PHI_AZURE_QUEUE_MINUTES and {ALLOWANCE_MINUTES:g} minutes for its image and its node, "
            f"{self._cancelled()}. Run again to resume from its last checkpoint. {self.link}".rstrip(),
            metadata=link_metadata(self.link),
        )

    def _cancelled(self) -> str:
        return "so it was cancelled" if self.stop() else "and it has not ended: cancel it in Azure ML Studio"

    def _request_cancel(self) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        try:
            self.clients.ml().jobs.begin_cancel(self.name)
        except ResourceNotFoundError:
            return
        except HttpResponseError as e:
            job = self.now() if e.status_code in (400, 409) else None  # it may have ended in the meantime
            if job is None or status_of(job) not in ENDED:
                raise


def status_of(job: Any) -> str:
    """The job's status as Azure ML writes it: Queued, Running, Completed, ..."""
    return str(getattr(job.status, "value", job.status))


def ended(job: Any) -> Ended:
    """How a job that has ended did so."""
    created = getattr(getattr(job, "creation_context", None), "created_at", None)
    submitted = created.timestamp() if isinstance(created, dt.datetime) else None
    return Ended(job.name, status_of(job), job.studio_url or "", submitted)


def link_metadata(link: str) -> dict[str, Any]:
    """The job's page in Azure ML Studio, as metadata of a Dagster event."""
    return {"studio": dg.MetadataValue.url(link)} if link else {}
