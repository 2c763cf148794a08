"""Decides whether a file in a watched folder is complete or still being written."""

from __future__ import annotations

import os
import time
from pathlib import Path

from phi_assets.conversations.formats.file_names import data_suffix
from phi_assets.conversations.formats.first_bytes import GZIP, PARQUET, ZSTANDARD, trouble
from phi_assets.conversations.formats.json_lines import parse_object
from phi_assets.conversations.rows import Row

QUIET_SECONDS = 5.0
"""A file that changed within this time counts as being written."""
YOUNG_SECONDS = 600.0
"""A file that was unchanged for so long is read as it is, even when its end is cut off."""
_HEAD = 1 << 16
_TAIL = 4 << 20  # as much as a line may hold (read_rows.MAX_LINE_BYTES)


def unfinished(path: Path, stat: os.stat_result, quiet_seconds: float = QUIET_SECONDS) -> str:
    """The reason to skip the file; empty when it is complete. Raises OSError when it can't be read.

    Only the file itself decides, by its size, age and end: a file that a process holds open without writing to it for
    `quiet_seconds` is read.
    """
    if not stat.st_size:
        return "it is empty"
    age = time.time() - stat.st_mtime
    if 0 <= age < quiet_seconds:
        return "it is still being written"
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if trouble(path.name, head) or head.startswith((GZIP, ZSTANDARD)):
        return ""  # reading it says what is wrong with it
    suffix = data_suffix(path.name)
    if suffix == ".parquet":
        # Parquet's footer is at the end of the file: without it nothing can be read, however old the file is.
        return "" if _tail(path, 4) == PARQUET else "it is not a whole Parquet file; copy it again"
    if suffix in (".arrow", ".csv", ".tsv"):
        return ""  # their ends do not say whether they are whole
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


def _tail(path: Path, maximum: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - maximum))
        return file.read(maximum)
