"""One change of the endpoint at a time: of this home by a lock that ends with its process, of all homes by a lease.

The lease is on a blob of the workspace and runs out by itself. Its id is the home's, so that a run takes over what one
of the same home died with; a run of another home waits until it has run out.
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
from phi_assets.ports.base import Log

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobLeaseClient

SECONDS = 60  # the longest that Azure lends for, other than for ever
RENEWED_EVERY = 15.0
FIRST_POLL, LONGEST_POLL = 0.2, 5.0
MINUTES = 120.0
TAKEN = frozenset({"LeaseAlreadyPresent", "LeaseIdMissing"})


class LeaseLost(BackendError):
    """Another home may be changing the endpoint now."""


class Lease:
    """The right to change the endpoint, renewed while it is held."""

    def __init__(self, lease: "BlobLeaseClient", log: Log) -> None:
        self._lease, self._log = lease, log
        # By the clock on the wall: the other one stands still while a machine sleeps.
        self._renewed = time.time()
        self._refused = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Raises LeaseLost when it has run out, or Azure refused to renew it: somebody else may have it."""
        late = time.time() - self._renewed
        if self._refused or not 0 <= late <= SECONDS:
            why = self._refused or f"it was renewed {late:.0f} s ago, and lasts {SECONDS} s"
            raise LeaseLost(
                description=f"the lease on the endpoint was lost ({why}), so nothing more was changed; run again"
            )

    def end(self) -> None:
        from azure.core.exceptions import AzureError

        self._over.set()
        self._thread.join()
        with contextlib.suppress(AzureError):  # it runs out by itself
            self._lease.release()

    def _keep(self) -> None:
        from azure.core.exceptions import AzureError

        while not self._over.wait(RENEWED_EVERY):
            asked = time.time()
            try:
                self._lease.renew()
                self._renewed = asked
            except AzureError as e:
                word = code_of(e) or type(e).__name__
                self._log(f"the lease on the endpoint could not be renewed: {word}")
                if status_of(e) in (404, 409, 412):
                    self._refused = word
                    return


@contextmanager
def alone(folder: Path, name: str, blobs: WorkspaceBlobs, log: Log) -> Iterator[Lease]:
    """Nobody else changes the endpoint meanwhile; who comes second waits. Raises GaveUp after two hours."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("a+", encoding="utf-8") as lock:
        waiting = PollTimer(f"waiting to change endpoint {name}", log, MINUTES, FIRST_POLL, LONGEST_POLL)
        _lock(lock, waiting)
        blob, own = blobs.blob(f"phi/locks/{name}"), _own_id(folder / f"{name}.lease")
        lease = Lease(_taken(blob, own, blobs, waiting), log)
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
    """The id of this home's leases, made once."""
    if not path.is_file():
        path.write_text(str(uuid.uuid4()), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _taken(blob: "BlobClient", lease_id: str, blobs: WorkspaceBlobs, waiting: PollTimer) -> "BlobLeaseClient":
    """The lease, when nobody else has it any more."""
    from azure.core.exceptions import HttpResponseError, ResourceExistsError
    from azure.storage.blob import BlobLeaseClient

    lease = BlobLeaseClient(blob, lease_id=lease_id)  # type: ignore[arg-type]

    def take() -> None:
        with contextlib.suppress(ResourceExistsError):
            blob.upload_blob(b"", overwrite=False)
        lease.acquire(lease_duration=SECONDS)

    while True:
        try:
            wait_for_role(take, "taking the lease on the endpoint", blobs.log, blobs.role_minutes)
            return lease
        except HttpResponseError as e:
            if code_of(e) not in TAKEN:
                raise refused("taking the lease on the endpoint", e) from e
            waiting.log_once("another home is changing it")
        waiting.pause("another home is changing it")
