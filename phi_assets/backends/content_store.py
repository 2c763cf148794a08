"""A folder of things known by their digest, each with the record that names it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from phi_assets.files import atomic_write
from phi_assets.records import Record

RECORD = "record.json"
DIGITS = 16  # of a SHA-256 in a folder's name: 64 bits, far beyond a chance collision among a home's versions


def place(root: Path, digest: str) -> Path:
    """The folder that a digest's files are kept in."""
    return root / digest[:DIGITS]


def put(record: Record, folder: Path) -> None:
    """Write the record beside what it names, last of all: a folder without one is unfinished."""
    atomic_write(folder / RECORD, record.to_json())


def find(root: Path, digest: str, complete: Callable[[Path], bool]) -> Record | None:
    """The record kept under the digest, when its folder still holds what `complete` asks for."""
    folder = place(root, digest)
    path = folder / RECORD
    if not path.is_file() or not complete(folder):
        return None
    record = Record.from_json(path.read_text(encoding="utf-8"))
    return record if record.digest == digest else None


def accept(staged: Path, root: Path, digest: str) -> Path:
    """Move a finished folder to its place; what lay there, unfinished or damaged, is replaced."""
    target = place(root, digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    staged.rename(target)
    return target
