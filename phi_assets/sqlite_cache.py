"""What is slow to ask of a library, kept in a file beside the database that it reads until that database changes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets.files import atomic_write

SQLITE = b"SQLite format 3\0"
# Where SQLite counts the transactions that changed the file: https://www.sqlite.org/fileformat2.html#file_change_counter
COUNTER = slice(24, 28)


@dataclass(frozen=True)
class Remembered:
    """A value that JSON can hold, in `file`, and the files that it was read from."""

    file: Path
    read_from: tuple[Path, ...]

    def get(self) -> Any:
        """The value, or None when there is none, or a file that it was read from has changed since."""
        try:
            kept = json.loads(self.file.read_text(encoding="utf-8"))
            return kept["value"] if kept["state"] == self.state() else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, value: Any, state: list[Any]) -> None:
        """The value is kept as read while the files were in this state, which was taken before they were read."""
        atomic_write(self.file, json.dumps({"state": state, "value": value}), mode=0o600)

    def state(self) -> list[Any]:
        """What changes whenever one of the files does; of one that is not there, None."""
        return [_state_of(path) for path in self.read_from]


def _state_of(path: Path) -> list[Any] | None:
    try:
        with path.open("rb") as handle:
            found, head = os.fstat(handle.fileno()), handle.read(COUNTER.stop)
    except OSError:
        return None
    counter = head[COUNTER].hex() if head.startswith(SQLITE) else ""
    return [found.st_ino, found.st_size, found.st_mtime_ns, counter]
