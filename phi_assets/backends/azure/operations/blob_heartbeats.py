"""Heartbeats of runs as blobs of the workspace, judged by the clock of the storage service."""

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any

from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run, with_deadline
from phi_assets.backends.azure.storage.blob import NoDatastore, WorkspaceBlobs
from phi_assets.errors import BackendError
from phi_assets.ports.heartbeats import RunHeartbeats

ROOT = "phi/runs/"
BEAT_SECONDS = 15.0
LAPSED_SECONDS = 60.0
LONGEST_READ = 20.0  # seconds: a sensor reads them, which Dagster gives 60
LONGEST_END = 5.0  # seconds that the end of a run waits for a beat that Azure does not answer
KEEP_SECONDS = 30 * 86_400.0  # of runs in the history of a machine that never looked again


class BlobHeartbeats(RunHeartbeats):
    """A blob for each run, written again every BEAT_SECONDS. It has lapsed LAPSED_SECONDS after its last write.

    Both times are the storage service's: the blob's own, and the `Date` of the answer. A run that ends before its first
    beat writes nothing, and so does one before the container exists.
    """

    account: dict[str, str]

    @contextmanager
    def beat(self, run_id: str) -> Iterator[None]:
        ended = threading.Event()
        beaten = False

        def keep_beating() -> None:
            nonlocal beaten
            blobs = self._blobs
            while not ended.wait(BEAT_SECONDS):
                with _whatever_azure_answers():
                    blobs.blob(ROOT + run_id).upload_blob(b"", overwrite=True)
                    beaten = True

        thread = threading.Thread(target=keep_beating, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(LONGEST_END)
            if beaten:
                self._remove([run_id])

    def lapsed(self) -> list[str]:
        answered: list[str] = []

        def note_time(response: Any) -> None:
            answered.append(response.http_response.headers["Date"])

        blobs = self._blobs
        try:
            listed = with_deadline("listing heartbeats", lambda: blobs.listed(ROOT, note_time), LONGEST_READ)
            beats = {name: at for name, (_, at) in listed.items()}
        except (NoDatastore, NotDeployed):
            return []
        if not beats:
            return []
        now = parsedate_to_datetime(answered[-1]).timestamp()
        self._remove(name.removeprefix(ROOT) for name, at in beats.items() if now - at > KEEP_SECONDS)
        return sorted(name.removeprefix(ROOT) for name, at in beats.items() if now - at > LAPSED_SECONDS)

    def forget(self, run_ids: Collection[str]) -> None:
        self._remove(run_ids)

    def _remove(self, run_ids: Iterable[str]) -> None:
        blobs = self._blobs
        for run_id in run_ids:
            with _whatever_azure_answers():
                blobs.blob(ROOT + run_id).delete_blob()

    @property
    def _blobs(self) -> WorkspaceBlobs:
        return WorkspaceBlobs(clients(self.account), log_to_run, role_minutes=0.0)


@contextmanager
def _whatever_azure_answers() -> Iterator[None]:
    """Go on without this beat: the next one counts as well, and a run does not depend on its heartbeat."""
    from azure.core.exceptions import AzureError

    with suppress(AzureError, BackendError):
        yield
