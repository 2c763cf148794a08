"""A writable mount of a blob folder: a local folder whose changes reach Blob storage within a second.

A file is written when it has been left alone for a moment, as blobfuse writes it when it is closed, and files are
written in the order in which they changed: a marker that follows the files it vouches for follows them to Blob too.
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

SECONDS_BETWEEN_LOOKS = 0.3


@dataclass(frozen=True)
class _Seen:
    size: int
    modified: int  # nanoseconds
    changed: int  # nanoseconds; a rename changes it, too
    inode: int


class Mount:
    """`folder` holds what the blob folder holds; `may_write` is asked before each round of writing."""

    def __init__(self, store: BlobStore, target: BlobPath, folder: Path, may_write: Callable[[], bool]) -> None:
        self._store, self._target, self._folder, self._may_write = store, target, folder, may_write
        self._kept: dict[str, _Seen] = {}  # as Blob storage has them
        # As the last two looks found them: a machine that stood still makes one look find nothing new.
        self._before: tuple[dict[str, _Seen], dict[str, _Seen]] = ({}, {})
        self._stop = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._follow, name="mount", daemon=True)
        self._later = False
        self.refused = False  # the identity may not write any more
        self.broken: Exception | None = None  # the last changes could not be written

    def open(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """What is in Blob is in the folder, and changes are followed from now on."""
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
        self._kept = self._look()
        self._before = (self._kept, self._kept)
        self._thread.start()

    def collect_later(self) -> None:
        """An empty folder, whose files are written when it is closed and not before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._later = True

    def close(self, seconds: float | None = None) -> None:
        """Everything is in Blob; after `seconds`, the rest is given up."""
        self._stop.set()
        if self._later and not self._thread.ident:
            self._thread.start()
        if self._thread.ident:
            self._thread.join(seconds)
        self._abandoned = True

    def lose(self) -> None:
        """Nothing more is written: the node is gone."""
        self._abandoned = True
        self._stop.set()

    def _follow(self) -> None:
        while not self._stop.wait(SECONDS_BETWEEN_LOOKS):
            with contextlib.suppress(AzureError):  # the client tried several times; the next look tries again
                self._write_changes(only_settled=True)
        try:
            self._write_changes(only_settled=False)
        except AzureError as e:
            self.broken = None if self._abandoned else e

    def _write_changes(self, only_settled: bool) -> None:
        now = self._look()
        changed = sorted(
            (name for name in now if self._kept.get(name) != now[name]), key=lambda name: now[name].changed
        )
        gone = [name for name in self._kept if name not in now]
        if (changed or gone) and not self._abandoned and not self._may_write():
            self.refused = True
            return
        # Within a folder that is being rewritten, what was taken away went first; elsewhere it went last.
        rewritten = {os.path.dirname(name) for name in changed}
        for name in gone:
            if os.path.dirname(name) in rewritten:
                self._delete(name)
        for name in changed:
            if only_settled and any(look.get(name) != now[name] for look in self._before):
                break
            self._upload(name, now[name])
        else:
            for name in gone:
                self._delete(name)
        self._before = (self._before[1], now)

    def _upload(self, name: str, seen: _Seen) -> None:
        if self._abandoned:
            return
        try:
            self._store.upload(self._folder / name, self._blob(name))
        except FileNotFoundError:
            return  # gone since: the next look finds that
        self._kept[name] = seen

    def _delete(self, name: str) -> None:
        if not self._abandoned and self._kept.pop(name, None):
            self._store.delete(self._blob(name))

    def _blob(self, name: str) -> BlobPath:
        return replace(self._target, path="/".join(filter(None, (self._target.path.strip("/"), name))))

    def _look(self) -> dict[str, _Seen]:
        return dict(_files(str(self._folder), ""))


def _files(folder: str, prefix: str) -> Iterator[tuple[str, _Seen]]:
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
            seen = _Seen(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            yield f"{prefix}{entry.name}", seen
