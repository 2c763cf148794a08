"""Whether a file that somebody puts into a folder is all there, or still being written."""

from __future__ import annotations

import os
import time
from functools import cached_property
from pathlib import Path

from phi_assets.conversations.formats.json_lines import parse_object
from phi_assets.conversations.rows import Row

QUIET_SECONDS = 5.0
"""Writers that are alive write more often than this."""
YOUNG_SECONDS = 600.0
"""What was not touched for so long is not being written any more, whatever its end looks like."""
_TAIL = 4 << 20  # as much as a line may hold (reading.MAX_LINE_BYTES)


class Writers:
    """The files that processes of this machine hold open for writing, as far as this user may see them; asked once."""

    @cached_property
    def files(self) -> frozenset[str]:
        import psutil

        found: set[str] = set()
        for process in psutil.process_iter():
            try:
                # Only Linux tells the mode; elsewhere the other signs must do.
                found.update(each.path for each in process.open_files() if getattr(each, "mode", "r") != "r")
            except (psutil.Error, OSError):
                continue
        return frozenset(found)

    def hold(self, path: Path) -> bool:
        return os.path.realpath(path) in self.files


def unfinished(path: Path, found: os.stat_result, writers: Writers, quiet_seconds: float = QUIET_SECONDS) -> str:
    """Why the file is to be left alone; empty when it is complete. Raises OSError when it can't be read."""
    if not found.st_size:
        return "it is empty"
    age = time.time() - found.st_mtime
    if 0 <= age < quiet_seconds:
        return "it is still being written"
    if age < YOUNG_SECONDS and writers.hold(path):
        return "it is still being written: a process has it open"
    if path.suffix.lower() == ".parquet":
        # Its table of contents stands at its end: without that nothing of it can be read, however old it is.
        return "" if _tail(path, 4) == b"PAR1" else "it is not a whole Parquet file; copy it again"
    if age < YOUNG_SECONDS and not _ends_whole(path):
        return f"its end is cut off; after {YOUNG_SECONDS / 60:.0f} minutes without a change it is read as it is"
    return ""


def _ends_whole(path: Path) -> bool:
    tail = _tail(path, 1 << 16)
    if path.suffix.lower() == ".json":
        with path.open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        return tail.rstrip().endswith(b"]" if start == b"[" else b"}")
    if tail.endswith(b"\n"):
        return True
    if b"\n" not in tail:
        tail = _tail(path, _TAIL)
    return isinstance(parse_object(tail.rpartition(b"\n")[2].removeprefix(b"\xef\xbb\xbf"), "", 1), Row)


def _tail(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read(most)
