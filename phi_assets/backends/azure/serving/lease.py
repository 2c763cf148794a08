"""Allows one change of the endpoint at a time: within this home by a file lock, between homes by a blob lease.

The file lock ends with its process. The lease is on a blob of the workspace and expires by itself. Its id belongs to
the home, so that a run takes over the lease of a run of the same home that died; a run of another home waits until it
has expired. The lock is polled, rather than `phi_assets.files.locked`, so that the wait is logged and has a timeout.
"""

import contextlib
import fcntl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from phi_assets.backends.azure.client.azure_errors import code_of, refused, status_of
from phi_assets.backends.azure.client.retry import PollTimer
from phi_assets.backends.azure.client.role_delay import wait_for_role
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.errors import BackendError
from phi_assets.files import atomic_write
from phi_assets.ports.base import Log

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobLeaseClient

SECONDS = 60  # Azure's longest finite lease
RENEW_SECONDS = 15.0
FIRST_POLL, LONGEST_POLL = 0.2, 5.0
MINUTES = 120.0
HELD_BY_ANOTHER = frozenset({"LeaseAlreadyPresent", "LeaseIdMissing"})


class LeaseLost(BackendError):
    """The lease was lost: another home may be changing the endpoint now."""


class Lease:
    """The lease on the endpoint, renewed in a thread while it is held."""

    def __init__(self, lease: "BlobLeaseClient", log: Log) -> None:
        self._lease, self._log = lease, log
        # Wall-clock time: the monotonic clock may stop while the machine sleeps.
        self._renewed = time.time()
        self._refused = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="lease", daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Raise LeaseLost when it has expired, or Azure refused to renew it: another home may hold it."""
        age = time.time() - self._renewed
        if self._refused or not 0 <= age <= SECONDS:
            why = self._refused or f"last renewed {age:.0f} s ago, valid for {SECONDS} s"
            raise LeaseLost(
                description=f"the lease on the endpoint was lost ({why}), so this run changed nothing more; run again"
            )

    def end(self) -> None:
        from azure.core.exceptions import AzureError

        self._ended.set()
        self._thread.join()
        with contextlib.suppress(AzureError):  # it expires by itself
            self._lease.release()

    def _renew_until_ended(self) -> None:
        from azure.core.exceptions import AzureError

        while not self._ended.wait(RENEW_SECONDS):
            requested = time.time()
            try:
                self._lease.renew()
                self._renewed = requested
            except AzureError as e:
                reason = code_of(e) or type(e).__name__
                self._log(f"the lease on the endpoint could not be renewed: {reason}")
                if status_of(e) in (404, 409, 412):
                    self._refused = reason
                    return


@contextmanager
def alone(folder: Path, name: str, blobs: WorkspaceBlobs, log: Log) -> Iterator[Lease]:
    """Hold the lock and the lease on the endpoint; waits while another run does. Raises GaveUp after two hours."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("a+", encoding="utf-8") as lock:
        waiting = PollTimer(f"waiting to change endpoint {name}", log, MINUTES, FIRST_POLL, LONGEST_POLL)
        _lock(lock, waiting)
        blob, own = blobs.blob(f"phi/locks/{name}"), _own_id(folder / f"{name}.lease")
        lease = Lease(_acquire(blob, own, blobs, waiting), log)
        try:
            yield lease
        finally:
            lease.end()


def _lock(file: IO[str], waiting: PollTimer) -> None:
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting.log_once("another run is changing it")
        waiting.pause("another run is changing it")


def _own_id(path: Path) -> str:
    """The lease id of this home, created once; a damaged one is replaced, and its lease expires within a minute."""
    with contextlib.suppress(OSError, ValueError):
        return str(uuid.UUID(path.read_text(encoding="utf-8").strip()))
    own = str(uuid.uuid4())
    atomic_write(path, own)
    return own


def _acquire(blob: "BlobClient", lease_id: str, blobs: WorkspaceBlobs, waiting: PollTimer) -> "BlobLeaseClient":
    """Acquire the lease; waits while another home holds it."""
    from azure.core.exceptions import HttpResponseError, ResourceExistsError
    from azure.storage.blob import BlobLeaseClient

    lease = BlobLeaseClient(blob, lease_id=lease_id)  # type: ignore[arg-type]

    def acquire() -> None:
        with contextlib.suppress(ResourceExistsError):
            blob.upload_blob(b"", overwrite=False)
        lease.acquire(lease_duration=SECONDS)

    while True:
        try:
            wait_for_role(acquire, "acquiring the lease on the endpoint", blobs.log, blobs.role_minutes)
            return lease
        except HttpResponseError as e:
            if code_of(e) not in HELD_BY_ANOTHER:
                raise refused("acquiring the lease on the endpoint", e) from e
            waiting.log_once("another home is changing it")
        waiting.pause("another home is changing it")
