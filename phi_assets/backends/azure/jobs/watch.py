"""Watching one job to its end: its lines in the run's log, a deadline in the queue, and its end with the run's."""

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
# Without a machine. Preparing is left out: the first job of an environment waits while its image is built.
WAITING = frozenset({"NotStarted", "Queued", "Provisioning", "Paused"})
CANCEL_MINUTES = 5.0
LANDS_WITHIN = 60.0  # seconds in which a submission whose answer was not heard may still make its job
ALLOWANCE_MINUTES = 60.0  # beside the queue and its own limit: for its image, its node and its outputs


class NoMachine(BackendError):
    """No machine came in time."""


class NeverEnded(BackendError):
    """A job that Azure ML did not end at its own limit."""


@dataclass(frozen=True)
class JobLimits:
    """What a job may cost in US dollars and wait in minutes, and how often it is asked for."""

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
    """One job of the workspace. Each question is asked with patience, and a job that a run gives up goes on: the next
    run adopts it, and its own time limit ends it.
    """

    def __init__(self, clients: AzureClients, name: str, log: Log, limits: JobLimits) -> None:
        self.clients, self.name, self.log, self.limits = clients, name, log, limits
        self.link = ""
        self.over = False  # whether it is known to have ended
        self.in_flight = False  # whether a submission may have reached Azure that was not answered

    def now(self) -> Any:
        """The job as Azure ML has it; None when there is none of this name. One question."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self.clients.ml().jobs.get(self.name)
        except ResourceNotFoundError:
            return None

    def get(self) -> Any:
        """As `now`, with patience, also with a role that is missing. Raises AzureRefused or GaveUp."""
        return call_waiting_for_role(self.now, f"asking for job {self.name}", self.log, self.limits.role_minutes)

    def to_the_end(self, look: Callable[[], None], seconds: float) -> Ended:
        """How the job ended, having called `look` at each question. `seconds` is the job's own limit.

        Raises NoMachine when it waited too long for one, NeverEnded when it outlives every limit.
        """
        status, waited = "", 0.0
        began = before = time.monotonic()
        while True:
            job = self.get()
            if job is None:
                self.over = True
                raise BackendError(description=f"job {self.name} is gone from the workspace; run again to start anew")
            if not self.link and job.studio_url:
                self.link = job.studio_url
                self.log(f"job {self.name}: {self.link}")
            if status_of(job) != status:
                status = status_of(job)
                self.log(f"job {self.name}: {status}")
            look()
            if status in ENDED:
                self.over = True
                return ended(job)
            now = time.monotonic()
            # Only a job that ran waits anew: others may come and go between the states before it.
            waited = 0.0 if status == "Running" else waited + (now - before) * (status in WAITING)
            before = now
            if waited > self.limits.queue_minutes * 60:
                raise self._no_machine()
            if now - began > seconds + (self.limits.queue_minutes + ALLOWANCE_MINUTES) * 60:
                raise self._never_ended(status, (now - began) / 60)
            time.sleep(self.limits.poll_seconds)

    def stop(self) -> bool:
        """Whether the job has ended, having been cancelled. What hinders it is said, and hides no other failure."""
        try:
            self.cancel()
        except Exception as e:
            self.log(
                f"job {self.name} could not be cancelled: {e}. It may go on, and cost, until its own time limit: "
                f"cancel it in Azure ML Studio. {self.link}".rstrip()
            )
        return self.over

    def cancel(self) -> None:
        """The job has ended, or `CANCEL_MINUTES` have passed since it was asked to.

        One whose submission was not answered is looked for over `LANDS_WITHIN` seconds before there is none.
        """
        self.log(f"cancelling job {self.name}")
        began, asked = time.monotonic(), False
        while time.monotonic() - began < CANCEL_MINUTES * 60:
            job = call_with_retries(self.now, f"asking for job {self.name}", self.log)
            may_land = job is None and self.in_flight and not asked and time.monotonic() - began < LANDS_WITHIN
            if (job is None and not may_land) or (job is not None and status_of(job) in ENDED):
                self.over = True
                self.log(f"job {self.name}: {status_of(job) if job else 'gone' if asked else 'never submitted'}")
                return
            if job is not None and not asked and status_of(job) != "CancelRequested":
                asked = True
                call_with_retries(self._ask_to_cancel, f"cancelling job {self.name}", self.log)
            time.sleep(min(self.limits.poll_seconds, 2.0))
        self.log(f"job {self.name} has not ended {CANCEL_MINUTES:g} minutes after it was cancelled; see {self.link}")

    def _no_machine(self) -> NoMachine:
        queue = self.limits.queue_minutes
        return NoMachine(
            description=f"job {self.name} waited {queue:g} minutes (PHI_AZURE_QUEUE_MINUTES) and no "
            f"{self.limits.vm_size} came, {self._cancelled()}: Azure has none free in {self.clients.account.location}, "
            "or other jobs hold the quota. Try again later, or set another PHI_AZURE_VM_SIZE or PHI_AZURE_LOCATION. "
            f"{self.link}".rstrip(),
            metadata=link_metadata(self.link),
        )

    def _never_ended(self, status: str, minutes: float) -> NeverEnded:
        return NeverEnded(
            description=f"job {self.name} was still {status} after {minutes:.0f} minutes, longer than its own limit, "
            f"PHI_AZURE_QUEUE_MINUTES and {ALLOWANCE_MINUTES:g} minutes for its image and its node, "
            f"{self._cancelled()}. Run again to go on from its last checkpoint. {self.link}".rstrip(),
            metadata=link_metadata(self.link),
        )

    def _cancelled(self) -> str:
        return "so it was cancelled" if self.stop() else "and it has not ended: cancel it in Azure ML Studio"

    def _ask_to_cancel(self) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        try:
            self.clients.ml().jobs.begin_cancel(self.name)
        except ResourceNotFoundError:
            return
        except HttpResponseError as e:
            job = self.now() if e.status_code in (400, 409) else None  # it may have ended meanwhile
            if job is None or status_of(job) not in ENDED:
                raise


def status_of(job: Any) -> str:
    """The job's status as Azure ML writes it: Queued, Running, Completed, ..."""
    return str(getattr(job.status, "value", job.status))


def ended(job: Any) -> Ended:
    """How a job that is over ended."""
    made = getattr(getattr(job, "creation_context", None), "created_at", None)
    submitted = made.timestamp() if isinstance(made, dt.datetime) else None
    return Ended(job.name, status_of(job), job.studio_url or "", submitted)


def link_metadata(link: str) -> dict[str, Any]:
    """The job's page in Azure ML Studio, for an event."""
    return {"studio": dg.MetadataValue.url(link)} if link else {}
