"""Watching one job to its end: its lines in the run's log, a deadline in the queue, and its end with the run's."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets.backends.azure.clients import AzureClients
from phi_assets.backends.azure.retrying import with_patience
from phi_assets.backends.ports import BackendError, Log

ENDED = frozenset({"Completed", "Failed", "Canceled"})
# Without a machine. Preparing is left out: the first job of an environment waits while its image is built.
WAITING = frozenset({"NotStarted", "Queued", "Provisioning", "Paused"})
CANCEL_MINUTES = 5.0


class NoMachine(BackendError):
    """No machine came in time."""


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    name: str
    status: str
    link: str


class Watch:
    """One job of the workspace. Each question is asked with patience: trouble on the way does not orphan the job."""

    def __init__(self, clients: AzureClients, name: str, log: Log, poll_seconds: float) -> None:
        self.clients, self.name, self.log, self.poll_seconds = clients, name, log, poll_seconds
        self.link = ""
        self.over = False  # whether it is known to have ended

    def get(self) -> Any:
        """The job as Azure ML has it now; None when there is none of this name."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return with_patience(f"asking for job {self.name}", lambda: self.clients.ml().jobs.get(self.name), self.log)
        except ResourceNotFoundError:
            return None

    def to_the_end(self, look: Callable[[], None], queue_minutes: float, machine: str) -> Ended:
        """How the job ended, having called `look` at each question. Raises NoMachine when it waited too long."""
        status, waiting_since = "", time.monotonic()
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
                return Ended(self.name, status, self.link)
            if status not in WAITING:
                waiting_since = time.monotonic()
            elif time.monotonic() - waiting_since > queue_minutes * 60:
                self.cancel()
                raise NoMachine(
                    description=f"job {self.name} waited {queue_minutes:g} minutes (PHI_AZURE_QUEUE_MINUTES) and no "
                    f"{machine} came, so it was cancelled: Azure has none free in {self.clients.account.location}, or "
                    "other jobs hold the quota. Try again later, or set another PHI_AZURE_VM_SIZE or "
                    f"PHI_AZURE_LOCATION. {self.link}".rstrip(),
                    metadata=link_metadata(self.link),
                )
            time.sleep(self.poll_seconds)

    def cancel(self) -> None:
        """The job has ended, or `CANCEL_MINUTES` have passed since it was asked to."""
        self.log(f"cancelling job {self.name}")
        with_patience(f"cancelling job {self.name}", self._ask_to_cancel, self.log)
        deadline = time.monotonic() + CANCEL_MINUTES * 60
        while time.monotonic() < deadline:
            job = self.get()
            if job is None or status_of(job) in ENDED:
                self.over = True
                self.log(f"job {self.name}: {status_of(job) if job else 'never submitted'}")
                return
            time.sleep(min(self.poll_seconds, 2.0))
        self.log(f"job {self.name} has not ended {CANCEL_MINUTES:g} minutes after it was cancelled; see {self.link}")

    def _ask_to_cancel(self) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        try:
            self.clients.ml().jobs.begin_cancel(self.name)
        except ResourceNotFoundError:
            return
        except HttpResponseError as e:
            job = self.get() if e.status_code in (400, 409) else None  # it may have ended meanwhile
            if job is None or status_of(job) not in ENDED:
                raise


def status_of(job: Any) -> str:
    """The job's status as Azure ML writes it: Queued, Running, Completed, ..."""
    return str(getattr(job.status, "value", job.status))


def link_metadata(link: str) -> dict[str, Any]:
    """The job's page in Azure ML Studio, for an event."""
    return {"studio": dg.MetadataValue.url(link)} if link else {}
