"""Caches a value derived from SQLite files until one of the files changes."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets.files import atomic_write

SQLITE = b"SQLite format 3\0"
# SQLite counts the transactions that changed the file here: https://www.sqlite.org/fileformat2.html#file_change_counter
COUNTER = slice(24, 28)


@dataclass(frozen=True)
class SqliteCache:
    """A JSON value cached in `file`, and the files it was read from."""

    file: Path
    sources: tuple[Path, ...]

    def get(self) -> Any:
        """Return the cached value, or None if there is none or one of the sources has changed since."""
        try:
            stored = json.loads(self.file.read_text(encoding="utf-8"))
            return stored["value"] if stored["state"] == self.state() else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, value: Any, state: list[Any]) -> None:
        """Store the value with the `state` of the sources, which must be taken before they were read.

        Where it cannot be stored, it is read from the sources again: a full disk does not keep anyone from reading.
        """
        with suppress(OSError):
            atomic_write(self.file, json.dumps({"state": state, "value": value}), durable=False)

    def state(self) -> list[Any]:
        """Return a value that changes whenever one of the sources does; None stands for a missing file."""
        return [_state_of(path) for path in self.sources]


def _state_of(path: Path) -> list[Any] | None:
    try:
        with path.open("rb") as handle:
            stat, head = os.fstat(handle.fileno()), handle.read(COUNTER.stop)
    except OSError:
        return None
    counter = head[COUNTER].hex() if head.startswith(SQLITE) else ""
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns, counter]
