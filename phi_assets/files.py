"""Files and folders: written atomically, private to their user, locked, and identified by their SHA-256."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, TextIO

NEVER_UPLOADED = shutil.ignore_patterns("__pycache__", "*.pyc", ".DS_Store")
ENVIRONMENT = "environment"
GENERATED = frozenset({"__pycache__", ".promptflow"})
SOURCE_SUFFIXES = frozenset(
    {".py", ".yaml", ".yml", ".jinja", ".jinja2", ".txt", ".json", ".toml", ".Dockerfile", ""}
) | {
    *(".js", ".css", ".html", ".svg")  # of the chat page, as it is served
}


class DamagedFile(ValueError):
    """A file of the home is empty, incomplete or of another kind; the message is one sentence with the remedy."""

    def __init__(self, file: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{file} is damaged ({reason}): {remedy}")
        self.file = file


def atomic_write(file: Path, content: str | bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file's content in one step: a concurrent reader finds the old content or the new, never a part.

    So does a reader after a power failure, if the write is `durable`; a cache need not be. Creates the folder if
    missing. `mode` is the file's permissions. An OSError names the file.
    """
    data = content.encode() if isinstance(content, str) else content
    with errors_name(file):
        private_folder(file.parent)
        handle, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            os.chmod(draft, mode)
            os.replace(draft, file)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft)
            raise
        if durable:
            sync(file.parent)


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def private_folder(folder: Path) -> Path:
    """Create the folder and its missing parents, for this user only, and return it. Existing ones stay as they are.

    Raises NotADirectoryError where a file has its name.
    """
    if folder.is_dir():
        return folder
    try:
        folder.mkdir(mode=0o700)
    except FileNotFoundError:
        private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    return folder


def make_private(tree: Path) -> None:
    """Remove the permissions of other users from a file or folder and all that it holds; links are not followed."""
    for folder, _, names in os.walk(tree):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            _narrow(path)
    _narrow(tree)


def _narrow(path: Path | str) -> None:
    mode = os.lstat(path).st_mode
    if mode & 0o077 and not os.path.islink(path):
        os.chmod(path, mode & 0o700)


def read_json(file: Path, remedy: str) -> Any:
    """Return the JSON value in the file. Raises DamagedFile with the remedy, or FileNotFoundError."""
    content = file.read_bytes()
    try:
        return json.loads(content)
    except ValueError as e:
        raise DamagedFile(file, "it is empty" if not content else f"it is not valid JSON, {e}", remedy) from e


def set_aside(file: Path) -> Path | None:
    """Rename a damaged file to `<name>.damaged-<date>` and return its new path; None when there is no such file."""
    name = f"{file.name}.damaged-{date.today().isoformat()}"
    target, number = file.with_name(name), 1
    while target.exists():
        number += 1
        target = file.with_name(f"{name}-{number}")
    with suppress(FileNotFoundError):
        return file.rename(target)
    return None


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Let an OSError in the block name the path, where it names none: a full disk is noticed by a write to a stream."""
    try:
        yield
    except OSError as e:
        if e.filename is None and e.errno is not None:
            e.filename = str(path)
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
    private_folder(file.parent)
    with open(file, "a+", encoding="utf-8", opener=private) as handle:
        lock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), file)
        yield handle


def lock(handle: int | TextIO, operation: int, file: Path) -> None:
    """Lock or unlock the open file: `fcntl.flock`, whose errors name the file."""
    with errors_name(file):
        fcntl.flock(handle, operation)


def is_locked(file: Path) -> bool:
    """Whether a process holds the file's lock now."""
    if not file.is_file():
        return False
    with file.open(encoding="utf-8") as handle:
        try:
            lock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB, file)
        except BlockingIOError:
            return True
    return False


def private(path: str, flags: int) -> int:
    """Open a file that only this user can read, for `open(..., opener=private)`."""
    return os.open(path, flags, 0o600)


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
