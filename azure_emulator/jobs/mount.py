"""A writable mount of a blob folder: a local folder whose changes reach Blob storage within a second.

A file is uploaded once it has not changed for a moment (blobfuse uploads it when it is closed). Files are uploaded in
the order in which they changed, so a marker that is written after other files also reaches Blob storage after them.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from azure.core.exceptions import AzureError

from azure_emulator.blob_storage.blob_path import BlobPath
from azure_emulator.blob_storage.blob_store import BlobStore

SCAN_SECONDS = 0.3


@dataclass(frozen=True)
class _FileState:
    size: int
    modified: int  # nanoseconds
    changed: int  # nanoseconds; a rename changes it, too
    inode: int


class Mount:
    """Mirrors `folder` to a blob folder; `may_write` is checked before each round of uploads."""

    def __init__(self, store: BlobStore, target: BlobPath, folder: Path, may_write: Callable[[], bool]) -> None:
        self._store, self._target, self._folder, self._may_write = store, target, folder, may_write
        self._stored: dict[str, _FileState] = {}  # the files' state at their last upload
        # The last two scans: after a pause of the machine, one scan alone may miss a change in progress.
        self._previous_scans: tuple[dict[str, _FileState], dict[str, _FileState]] = ({}, {})
        self._stop = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._follow, name="mount", daemon=True)
        self._later = False
        self.refused = False  # the identity lost its right to write
        self.broken: Exception | None = None  # the last changes could not be written

    def open(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Download the blobs into the folder and upload changes from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        prefix = self._target.path.strip("/")
        for blob in self._store.list(self._target):
            name = blob.path[len(prefix) :].strip("/")
            if stopped():
                return
            if name and blob.size:
                self._store.download(replace(self._target, path=blob.path), self._folder / name, stopped)
            elif name:
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / name).touch()
        self._stored = self._scan()
        self._previous_scans = (self._stored, self._stored)
        self._thread.start()

    def collect_later(self) -> None:
        """Create an empty folder whose files are uploaded on `close`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._later = True

    def close(self, seconds: float | None = None) -> None:
        """Upload the remaining changes, for at most `seconds`."""
        self._stop.set()
        if self._later and not self._thread.ident:
            self._thread.start()
        if self._thread.ident:
            self._thread.join(seconds)
        self._abandoned = True

    def lose(self) -> None:
        """Stop all uploads: the node is lost."""
        self._abandoned = True
        self._stop.set()

    def _follow(self) -> None:
        while not self._stop.wait(SCAN_SECONDS):
            with contextlib.suppress(AzureError):  # after the client's own retries; the next scan tries again
                self._write_changes(only_settled=True)
        try:
            self._write_changes(only_settled=False)
        except AzureError as e:
            self.broken = None if self._abandoned else e

    def _write_changes(self, only_settled: bool) -> None:
        now = self._scan()
        changed = sorted(
            (name for name in now if self._stored.get(name) != now[name]), key=lambda name: now[name].changed
        )
        deleted = [name for name in self._stored if name not in now]
        if (changed or deleted) and not self._abandoned and not self._may_write():
            self.refused = True
            return
        # In a folder with changed files, deletions come before uploads; elsewhere they come last.
        changed_folders = {os.path.dirname(name) for name in changed}
        for name in deleted:
            if os.path.dirname(name) in changed_folders:
                self._delete(name)
        for name in changed:
            if only_settled and any(scan.get(name) != now[name] for scan in self._previous_scans):
                break
            self._upload(name, now[name])
        else:
            for name in deleted:
                self._delete(name)
        self._previous_scans = (self._previous_scans[1], now)

    def _upload(self, name: str, seen: _FileState) -> None:
        if self._abandoned:
            return
        try:
            self._store.upload(self._folder / name, self._blob(name))
        except FileNotFoundError:
            return  # deleted meanwhile; the next scan sees that
        self._stored[name] = seen

    def _delete(self, name: str) -> None:
        if not self._abandoned and self._stored.pop(name, None):
            self._store.delete(self._blob(name))

    def _blob(self, name: str) -> BlobPath:
        return replace(self._target, path="/".join(filter(None, (self._target.path.strip("/"), name))))

    def _scan(self) -> dict[str, _FileState]:
        return dict(_files(str(self._folder), ""))


def _files(folder: str, prefix: str) -> Iterator[tuple[str, _FileState]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _files(entry.path, f"{prefix}{entry.name}/")
        elif stat.S_ISREG(found.st_mode):
            seen = _FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            yield f"{prefix}{entry.name}", seen
