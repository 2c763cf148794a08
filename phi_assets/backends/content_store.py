"""A content-addressed store: a folder for each digest, with its record."""

import shutil
from collections.abc import Callable
from pathlib import Path

from phi_assets.files import atomic_write
from phi_assets.records import Record, RecordUnreadable

RECORD = "record.json"
DIGITS = 16  # of a SHA-256 in a folder's name: 64 bits, far beyond a chance collision among a home's versions


def place(root: Path, digest: str) -> Path:
    """The folder of a digest's files."""
    return root / digest[:DIGITS]


def put(record: Record, folder: Path) -> None:
    """Write the record into the folder as the last file: a folder without one is incomplete."""
    atomic_write(folder / RECORD, record.to_json())


def find(root: Path, digest: str, complete: Callable[[Path], bool]) -> Record | None:
    """The record of the digest, if it can be read and its folder passes `complete`; otherwise None."""
    record = remembered(root, digest)
    return record if record and complete(place(root, digest)) else None


def remembered(root: Path, digest: str) -> Record | None:
    """The record of the digest, if it can be read, whether or not the rest of its folder exists."""
    try:
        record = Record.load(place(root, digest) / RECORD)
    except RecordUnreadable:
        return None
    return record if record and record.digest == digest else None


def accept(staged: Path, root: Path, digest: str) -> Path:
    """Move a finished folder to its place, replacing an incomplete or damaged one."""
    target = place(root, digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    staged.rename(target)
    return target
