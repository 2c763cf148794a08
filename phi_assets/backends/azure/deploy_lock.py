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
from typing import TYPE_CHECKING

from phi_assets.backends.azure.blob import WorkspaceBlobs
from phi_assets.backends.azure.errors import GaveUp, code_of, refused
from phi_assets.backends.azure.roles import wait_for_role
from phi_assets.backends.ports import BackendError, Log

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobLeaseClient

SECONDS = 60  # the longest that Azure lends for, other than for ever
RENEWED_EVERY = 15.0
POLL_SECONDS = 2.0
MINUTES = 120.0
TAKEN = frozenset({"LeaseAlreadyPresent", "LeaseIdMissing"})


class LeaseLost(BackendError):
    """Another home may be changing the endpoint now."""


class Lease:
    """The right to change the endpoint, renewed while it is held."""

    def __init__(self, lease: "BlobLeaseClient", log: Log) -> None:
        self._lease, self._log = lease, log
        self._renewed = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Raises LeaseLost when it has run out, because it could not be renewed."""
        if time.monotonic() - self._renewed > SECONDS:
            raise LeaseLost(description="the lease on the endpoint could not be renewed, run again")

    def end(self) -> None:
        from azure.core.exceptions import AzureError

        self._over.set()
        self._thread.join()
        with contextlib.suppress(AzureError):  # it runs out by itself
            self._lease.release()

    def _keep(self) -> None:
        from azure.core.exceptions import AzureError

        while not self._over.wait(RENEWED_EVERY):
            asked = time.monotonic()
            try:
                self._lease.renew()
                self._renewed = asked
            except AzureError as e:
                self._log(f"the lease on the endpoint could not be renewed: {code_of(e) or type(e).__name__}")


@contextmanager
def alone(folder: Path, name: str, blobs: WorkspaceBlobs, log: Log) -> Iterator[Lease]:
    """Nobody else changes the endpoint meanwhile; who comes second waits. Raises GaveUp after two hours."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"another run is changing endpoint {name}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lease = Lease(_taken(blobs.blob(f"phi/locks/{name}"), _own_id(folder / f"{name}.lease"), blobs, log), log)
        try:
            yield lease
        finally:
            lease.end()


def _own_id(path: Path) -> str:
    """The id of this home's leases, made once."""
    if not path.is_file():
        path.write_text(str(uuid.uuid4()), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _taken(blob: "BlobClient", lease_id: str, blobs: WorkspaceBlobs, log: Log) -> "BlobLeaseClient":
    """The lease, when nobody else has it any more."""
    from azure.core.exceptions import HttpResponseError, ResourceExistsError
    from azure.storage.blob import BlobLeaseClient

    lease = BlobLeaseClient(blob, lease_id=lease_id)  # type: ignore[arg-type]

    def take() -> None:
        with contextlib.suppress(ResourceExistsError):
            blob.upload_blob(b"", overwrite=False)
        lease.acquire(lease_duration=SECONDS)

    began, said = time.monotonic(), False
    while True:
        try:
            wait_for_role(take, "taking the lease on the endpoint", log, blobs.role_minutes)
            return lease
        except HttpResponseError as e:
            if code_of(e) not in TAKEN:
                raise refused("taking the lease on the endpoint", e) from e
        if time.monotonic() - began > MINUTES * 60:
            raise GaveUp(description="another home has been changing the endpoint for two hours; run again")
        if not said:
            log("another home is changing the endpoint; waiting for it")
            said = True
        time.sleep(POLL_SECONDS)
