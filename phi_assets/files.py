"""Files and folders: written atomically, locked, and identified by the SHA-256 of their content."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

NEVER_UPLOADED = shutil.ignore_patterns("__pycache__", "*.pyc", ".DS_Store")
ENVIRONMENT = "environment"
GENERATED = frozenset({"__pycache__", ".promptflow"})
SOURCE_SUFFIXES = frozenset({".py", ".yaml", ".yml", ".jinja", ".jinja2", ".txt", ".json", ".toml", ".Dockerfile", ""})


def atomic_write(file: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Replace the file's content in one step: a concurrent reader finds the old content or the new, never a part.

    Creates the folder if missing. `mode` is the file's permissions.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(draft, mode)
        os.replace(draft, file)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def file_sha256(file: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal, read in blocks. Raises OSError when it cannot be read."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def locked(file: Path, *, wait: bool = True) -> Iterator[TextIO]:
    """Hold an exclusive lock on the file, which is created if missing, until the block or the process ends.

    Yields the open file. Raises BlockingIOError when another process holds it and `wait` is False.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield handle


def is_locked(file: Path) -> bool:
    """Whether a process holds the file's lock now."""
    if not file.is_file():
        return False
    with file.open(encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@cache
def tree_sha256(tree: Path) -> str:
    """SHA-256 over the names and bytes of a source file, or of every source file in a tree.

    A program's `environment/` does not count: it defines an image, and has its own digest.
    """
    digest = hashlib.sha256()
    for path in source_files(tree, [ENVIRONMENT]):
        digest.update(f"{path.relative_to(tree.parent).as_posix()}\0".encode())
        digest.update(path.read_bytes())
        digest.update(b"\0")
    return digest.hexdigest()


def source_files(tree: Path, apart_from: Collection[str] = ()) -> list[Path]:
    """Return the source files of a tree, sorted, or the file itself, without files and folders named `apart_from`."""
    if tree.is_file():
        return [tree]
    found = (path for path in tree.rglob("*") if path.is_file() and path.suffix in SOURCE_SUFFIXES)
    excluded = GENERATED.union(apart_from)
    return sorted(path for path in found if excluded.isdisjoint(path.relative_to(tree).parts))
