"""Folders by digest in the workspace's container, each with its record, for all machines of a project.

The record is written last, on the condition that nobody wrote it meanwhile: a folder without one is incomplete. A home
has copies, which are fetched when they are read.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from phi_assets.backends import content_store
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.storage.blob import NoDatastore, WorkspaceBlobs
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log
from phi_assets.records import OtherRelease, Record

RECORD = content_store.RECORD
FETCHED = ".fetched.json"
"""In the copy of a home: the files that were fetched, with their bytes."""
MODELS, REPORTS, REPLAY, FLOWS, FLOW_EVALUATIONS = (
    f"phi/{name}/" for name in ("models", "reports", "replay", "flows", "flow_evaluations")
)
"""The roots. A model's folder has its report and pictures: its weights are in the folder of its training."""


class SharedFolders:
    """The folders under `root`, which ends in a slash."""

    def __init__(self, clients: AzureClients, root: str, role_minutes: float, log: Log = log_to_run) -> None:
        self.root = root
        self._blobs = WorkspaceBlobs(clients, log, role_minutes)

    def put(self, record: Record, folder: Path | None = None, needs: Mapping[str, int] | None = None) -> None:
        """Upload the files of `folder`, then the record. `needs` are further blobs that must exist: name and bytes.

        A complete folder of this digest stays as it is. Raises BackendError where another release wrote the record.
        """
        place = self.place(record.digest)
        sizes = dict(needs or {})
        if folder:
            self._blobs.upload(folder, place, skip=(RECORD, FETCHED))
            sizes |= {f"{place}{name}": size for name, size in _sizes(folder).items()}
        value = json.loads(record.to_json())
        content = json.dumps({"record": value, "files": sizes}, indent=2).encode()
        while True:
            found = self._blobs.tagged(place + RECORD)
            stored = self._parsed(found[0], record.digest) if found else None
            if stored and self._is_whole(stored[1]):
                return
            if self._blobs.replace(place + RECORD, content, found[1] if found else None):
                return

    def find(self, digest: str) -> Record | None:
        """The record of the digest, if all of its files exist with their sizes; otherwise None.

        Raises BackendError where another release wrote it: what may have cost hours is not made again.
        """
        stored = self._stored(digest)
        return stored[0] if stored and self._is_whole(stored[1]) else None

    def remembered(self, digest: str) -> Record | None:
        """The record of the digest, whether or not its files exist."""
        with suppress(BackendError):
            stored = self._stored(digest)
            return stored[0] if stored else None
        return None

    def fetch(self, record: Record, home: Path) -> Path:
        """Return the folder of the record under `home`; download its files, and write the record, if it is not there.

        A file that was fetched and lost since is fetched again.
        Raises NoDatastore or NotDeployed where there is no container.
        """
        target = content_store.place(home, record.digest)
        if content_store.remembered(home, record.digest) is not None and _has_all(target):
            return target
        staged = home / f"under-way-{uuid.uuid4().hex}"
        try:
            self.download(record.digest, staged)
            (staged / FETCHED).write_text(json.dumps(_sizes(staged)), encoding="utf-8")
            content_store.put(record, staged)
            return content_store.accept(staged, home, record.digest)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def download(self, digest: str, folder: Path) -> None:
        """Download the files of the digest, without its record, into `folder`."""
        place = self.place(digest)
        names = [name.removeprefix(place) for name in self._blobs.names(place)]
        folder.mkdir(parents=True, exist_ok=True)
        self._blobs.download(place, folder, sorted(set(names) - {RECORD}))

    def place(self, digest: str) -> str:
        """The folder of a digest in the container."""
        return f"{self.root}{digest}/"

    def _stored(self, digest: str) -> tuple[Record, dict[str, int]] | None:
        try:
            found = self._blobs.tagged(self.place(digest) + RECORD)
        except (NoDatastore, NotDeployed):
            return None
        return self._parsed(found[0], digest) if found else None

    def _parsed(self, content: bytes, digest: str) -> tuple[Record, dict[str, int]] | None:
        """The record and its files; None for one that cannot be read, or of another digest. Raises BackendError."""
        try:
            values = json.loads(content)
            files = {str(name): int(size) for name, size in values["files"].items()}
            record = Record.from_json(json.dumps(values["record"]))
        except OtherRelease as e:
            remedy = "install that release here too"
            raise BackendError(f"{self.place(digest)}{RECORD} in blob storage: {e}; {remedy}", remedy=remedy) from e
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return (record, files) if record.digest == digest else None

    def _is_whole(self, files: Mapping[str, int]) -> bool:
        sizes: dict[str, int] = {}
        for prefix in {os.path.dirname(name) + "/" for name in files}:
            sizes |= self._blobs.sizes(prefix)
        return all(sizes.get(name) == size for name, size in files.items())


def _sizes(folder: Path) -> dict[str, int]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name not in (RECORD, FETCHED))
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


def _has_all(folder: Path) -> bool:
    """Whether the files that were fetched are there with their sizes; of a folder that was made here, True."""
    try:
        fetched: dict[str, int] = json.loads((folder / FETCHED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return fetched.items() <= _sizes(folder).items()
