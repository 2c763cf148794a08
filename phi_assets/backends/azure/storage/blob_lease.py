"""One holder at a time, by a lease on a blob of the workspace. For jobs it saves money: their names keep them correct.

The lease expires SECONDS after the last renewal, by the clock of the storage service. Its id belongs to the home, so
that a run takes over at once from a run of the same home that died; a run of another home waits until it has expired.
Within a home a file lock, which ends with its process, allows one holder.
"""

import contextlib
import fcntl
import json
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from phi_assets.backends.azure.client.azure_errors import code_of, refused, status_of
from phi_assets.backends.azure.client.retry import PollTimer
from phi_assets.backends.azure.client.role_delay import wait_for_role
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.errors import BackendError
from phi_assets.files import atomic_write, private_folder
from phi_assets.ports.base import Log

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobLeaseClient

ROOT = "phi/locks/"
SECONDS = 60  # Azure's longest finite lease
RENEW_SECONDS = 15.0
FIRST_POLL, LONGEST_POLL = 0.2, 5.0
HELD_BY_ANOTHER = frozenset({"LeaseAlreadyPresent", "LeaseIdMissing"})


class LeaseLost(BackendError):
    """The lease was lost: another may hold it now."""


class BlobLease:
    """A lease that is renewed in a thread while it is held. `what` is what only its holder may do."""

    def __init__(self, lease: "BlobLeaseClient", what: str, log: Log) -> None:
        self._lease, self._what, self._log = lease, what, log
        # Wall-clock time: the monotonic clock may stop while the machine sleeps.
        self._renewed = time.time()
        self._refused = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="blob lease", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> str:
        """Why another may hold the lease now; empty while this one certainly does."""
        age = time.time() - self._renewed
        if self._refused or 0 <= age <= SECONDS:
            return self._refused
        return f"last renewed {age:.0f} s ago, valid for {SECONDS} s"

    def require(self) -> None:
        """Raise LeaseLost when another may hold the lease now."""
        if why := self.lost:
            raise LeaseLost(
                description=f"the lease on {self._what} was lost ({why}), so this run changed nothing more; run again"
            )

    def end(self) -> None:
        """Release the lease: another may take it at once."""
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
                self._log(f"the lease on {self._what} could not be renewed: {reason}")
                if status_of(e) in (404, 409, 412):
                    self._refused = reason
                    return


@contextmanager
def only_holder(
    blobs: WorkspaceBlobs,
    name: str,
    what: str,
    *,
    run: str = "",
    minutes: float,
    on_poll: Callable[[], None] = lambda: None,
) -> Iterator[BlobLease]:
    """Hold the lease of this name; waits while another run does, and calls `on_poll` meanwhile.

    `run` is named to those who wait. Raises GaveUp after `minutes`, and AzureRefused.
    """
    waiting = PollTimer(f"waiting for the lease on {what}", blobs.log, minutes, FIRST_POLL, LONGEST_POLL)
    folder = private_folder(blobs.clients.account.folder / "locks")
    with (folder / f"{name}.lock").open("a+", encoding="utf-8") as lock:
        while not _locked(lock):
            _wait(waiting, "another run of this home holds it", on_poll)
        blob, own = blobs.blob(ROOT + name), _own_id(folder / f"{name}.lease")
        held = _acquire(blob, own, what, blobs)
        while held is None:
            _wait(waiting, f"{_holder(blob)} holds it", on_poll)
            held = _acquire(blob, own, what, blobs)
        lease = BlobLease(held, what, blobs.log)
        try:
            _name_holder(blob, held, run)
            yield lease
        finally:
            lease.end()


def _wait(waiting: PollTimer, why: str, on_poll: Callable[[], None]) -> None:
    waiting.log_once(why)
    waiting.pause(why)
    on_poll()


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _own_id(path: Path) -> str:
    """The lease id of this home, created once; a damaged one is replaced, and its lease expires within a minute."""
    with contextlib.suppress(OSError, ValueError):
        return str(uuid.UUID(path.read_text(encoding="utf-8").strip()))
    own = str(uuid.uuid4())
    atomic_write(path, own)
    return own


def _acquire(blob: "BlobClient", lease_id: str, what: str, blobs: WorkspaceBlobs) -> "BlobLeaseClient | None":
    """Acquire the lease; None while another home holds it."""
    from azure.core.exceptions import HttpResponseError, ResourceExistsError
    from azure.storage.blob import BlobLeaseClient

    lease = BlobLeaseClient(blob, lease_id=lease_id)  # type: ignore[arg-type]

    def acquire() -> None:
        with contextlib.suppress(ResourceExistsError):
            blob.upload_blob(b"", overwrite=False)
        lease.acquire(lease_duration=SECONDS)

    try:
        wait_for_role(acquire, f"acquiring the lease on {what}", blobs.log, blobs.role_minutes)
    except HttpResponseError as e:
        if code_of(e) not in HELD_BY_ANOTHER:
            raise refused(f"acquiring the lease on {what}", e) from e
        return None
    return lease


def _name_holder(blob: "BlobClient", lease: "BlobLeaseClient", run: str) -> None:
    """Write into the leased blob who holds it, for those who wait."""
    from azure.core.exceptions import AzureError

    with contextlib.suppress(AzureError):
        content = json.dumps({"machine": platform.node(), "run": run})
        blob.upload_blob(content.encode(), overwrite=True, lease=lease)


def _holder(blob: "BlobClient") -> str:
    from azure.core.exceptions import AzureError

    with contextlib.suppress(AzureError, ValueError, KeyError, TypeError):
        found = json.loads(blob.download_blob().readall())
        run = f"run {str(found['run'])[:8]}" if found["run"] else "a command"
        return f"{run} on {str(found['machine'])[:64]!r}"
    return "another home"
