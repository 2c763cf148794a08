"""Caches the SHA-256 of files until a file changes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import orjson

from phi_assets.conversations.rows import shown
from phi_assets.files import atomic_write, file_sha256

_RACY_SECONDS = 2.0
"""A file modified so recently may change again within the same time stamp (git's rule for its index)."""


class Hashes:
    """A cache of file hashes in a small JSON file. When that is lost or damaged, the files are hashed again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = self._read()
        self._changed = False

    def of(self, path: Path, stat: os.stat_result) -> str:
        """The hash (hex) of the file's bytes. Raises OSError when it can't be read."""
        known = self.find(path, stat)
        if known:
            return known
        digest = file_sha256(path)
        if time.time() - stat.st_mtime > _RACY_SECONDS:
            self._known[shown(path)] = [*_stamp(stat), digest]
            self._changed = True
        return digest

    def find(self, path: Path, stat: os.stat_result) -> str | None:
        """The hash (hex) of the file while it is unchanged since it was hashed; otherwise None."""
        known = self._known.get(shown(path))
        return known[3] if known and known[:3] == _stamp(stat) else None

    def knows(self, path: Path) -> bool:
        """Whether the file was complete at an earlier time."""
        return str(path) in self._known

    def save(self) -> None:
        """Store the cache without deleted files. A failure is ignored: the cache only saves time."""
        deleted = [path for path in self._known if not os.path.lexists(path)]
        for path in deleted:
            del self._known[path]
        if not self._changed and not deleted:
            return
        with suppress(OSError):
            atomic_write(self._file, orjson.dumps(self._known), durable=False)
            self._changed = False

    def _read(self) -> dict[str, list]:
        try:
            stored = orjson.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        entries = stored.items() if isinstance(stored, dict) else ()
        return {path: entry for path, entry in entries if isinstance(entry, list) and len(entry) == 4}


def _stamp(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
