"""SHA-256 of files, computed again only when a file has changed."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import orjson

from phi_assets.files import atomic_write, file_sha256

_RACY_SECONDS = 2.0
"""A file changed so lately may change again without another time stamp (git's rule for its index)."""


class Hashes:
    """What is known of files, kept in a small JSON file. When that is lost or damaged, files are read again."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._known = self._read()
        self._changed = False

    def of(self, path: Path, found: os.stat_result) -> str:
        """The hash (hex) of the file's bytes. Raises OSError when it can't be read."""
        stamp = [found.st_size, found.st_mtime_ns, found.st_ino]
        known = self._known.get(str(path))
        if known and known[:3] == stamp:
            return known[3]
        digest = file_sha256(path)
        if time.time() - found.st_mtime > _RACY_SECONDS:
            self._known[str(path)] = [*stamp, digest]
            self._changed = True
        return digest

    def knows(self, path: Path) -> bool:
        """Whether the file was ever whole before."""
        return str(path) in self._known

    def keep(self) -> None:
        """Remember for the next process; what is gone is forgotten. Never fails: to remember only saves time."""
        gone = [path for path in self._known if not os.path.lexists(path)]
        for path in gone:
            del self._known[path]
        if not self._changed and not gone:
            return
        with suppress(OSError):
            atomic_write(self._kept, orjson.dumps(self._known))
            self._changed = False

    def _read(self) -> dict[str, list]:
        try:
            found = orjson.loads(self._kept.read_bytes())
        except (OSError, ValueError):
            return {}
        entries = found.items() if isinstance(found, dict) else ()
        return {path: entry for path, entry in entries if isinstance(entry, list) and len(entry) == 4}
