"""Faults of this machine, such as a full disk: one sentence that says what is wrong, where, and the remedy."""

import errno
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from phi_assets import databases
from phi_assets.files import DamagedFile, errors_name

ELSEWHERE = "set PHI_HOME to a folder on another disk"
AGAIN = "what was finished is stored, and the command can be given again"
NO_LOCKS = "the file system of {where} has no file locks: set PHI_HOME to a folder on a local disk"
NOT_ALLOWED = "this user has no permission for {where}: `ls -ld` shows whose it is; change that, or set PHI_HOME"

OF_SYSTEM = {
    errno.ENOSPC: "the disk of {where} is full{detail}: free space on it, or " + ELSEWHERE + "; " + AGAIN,
    errno.EDQUOT: "your disk quota for {where} is used up: delete files of yours, or " + ELSEWHERE + "; " + AGAIN,
    errno.EIO: "the disk of {where} failed (input/output error): see `dmesg`, or " + ELSEWHERE + "; " + AGAIN,
    errno.EROFS: "{where} is on a file system that is mounted read-only: mount it writable, or " + ELSEWHERE,
    errno.EFBIG: "{where} is larger than this shell allows for a file: raise `ulimit -f`; " + AGAIN,
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.ENAMETOOLONG: "the path {where} is too long: set PHI_HOME to a shorter one",
    errno.ENOLCK: NO_LOCKS,
    errno.EOPNOTSUPP: NO_LOCKS,
    errno.ENOSYS: NO_LOCKS,
    errno.ESTALE: "the network file system of {where} has lost it: mount it again, or " + ELSEWHERE,
    errno.EMFILE: "this process has too many files open, {where} was the next: raise `ulimit -n`; " + AGAIN,
    errno.ENFILE: "this machine has too many files open, {where} was the next: end some programs; " + AGAIN,
    errno.ENOMEM: "this machine has no memory left for {where}: end some programs; " + AGAIN,
    errno.ENOTDIR: "{where}, or a folder above it, is a file: move it away, or set PHI_HOME to another folder",
    errno.EEXIST: "{where} is a file where a folder is needed: move it away, or set PHI_HOME to another folder",
    errno.EISDIR: "{where} is a folder where a file is needed: move it away; " + AGAIN,
}
GONE = "{where} is gone from the home: `phi run` makes what is missing"

OF_SQLITE = {
    "database or disk is full": errno.ENOSPC,
    "disk I/O error": errno.EIO,
    "readonly database": errno.EACCES,
    "unable to open database": 0,
}
"""What SQLite's words mean where the disk says nothing else: it uses each of them for a full disk too."""
NOT_OPENED = "a database of {where} could not be opened, and its disk takes writes now: give the command again"
PROBE_BYTES = 1 << 16  # SQLite's index beside a database in use takes 32 kB
LOCKED = "another process holds a database of {where}: wait for it and try again; `fuser -v {where}` names the process"
DAMAGES = ("malformed", "not a database", "no such table", "no such column", "is damaged")


def sentence(error: BaseException, home: Path) -> str:
    """Return the sentence for the fault that caused the error; empty when no fault of this machine did.

    `home` is named where the error names no file: SQLite never names its file, and its databases are examined.
    """
    for each in _causes(error):
        said = _sentence(each, home)
        if said:
            return said
    return ""


def of_message(message: str, home: Path) -> str:
    """Return the sentence for an error of which only the text is known, as Dagster's event log stores it."""
    found = re.search(r"\[Errno (\d+)\] [^:\n]*(?:: '([^'\n]+)')?", message)
    if found:
        return _of_system(int(found[1]), found[2], home)
    return _of_sqlite(message, home) if "sqlite3." in message else ""


def of_disk(folder: Path) -> str:
    """Return the sentence where the folder's disk refuses a write now; empty where it takes one."""
    refused = OSError(errno.ENOSPC, "full") if _is_full(folder) else _refused(folder)
    return _of_system(refused.errno or 0, None, folder) if refused else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it was raised from: libraries wrap the error of the system in their own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = getattr(error, "orig", None)  # SQLAlchemy's, which it raises from None at times
        error = error.__cause__ or (wrapped if isinstance(wrapped, BaseException) else None)  # type: ignore[assignment]


def _sentence(error: BaseException, home: Path) -> str:
    if isinstance(error, DamagedFile):
        return str(error)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(str(error), home)
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error.errno, error.filename2 or error.filename, home)
    return ""


def _of_system(number: int, named: object, home: Path) -> str:
    where = os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else str(home)
    if number == errno.ENOENT and named and Path(where).is_relative_to(home):
        return GONE.format(where=where)
    return OF_SYSTEM.get(number, "").format(where=where, detail=_no_inodes(where))


def _of_sqlite(message: str, home: Path) -> str:
    if any(words in message for words in DAMAGES):
        found = [
            databases.damaged(file, reason) for state in _states(home) for file, reason in databases.examine(state)
        ]
        return str(found[0]) if found else ""
    if "locked" in message:
        return LOCKED.format(where=home)
    meant = next((number for words, number in OF_SQLITE.items() if words in message), None)
    if meant is None:
        return ""
    if _is_full(home):
        return _of_system(errno.ENOSPC, None, home)
    refused = _refused(home)
    if refused and refused.errno in OF_SYSTEM:
        return _sentence(refused, home)
    return _of_system(meant, None, home) if meant else NOT_OPENED.format(where=home)


def _refused(home: Path) -> OSError | None:
    """Return the error of a database that this user may not write, or of a write to the home; None where all is well.

    SQLite does not say what the system said to it.
    """
    for file in (file for state in _states(home) for file in databases.files(state)):
        if not os.access(file, os.R_OK | os.W_OK):
            number = errno.EROFS if os.statvfs(file).f_flag & os.ST_RDONLY else errno.EACCES
            return OSError(number, os.strerror(number), str(file))
    try:
        with errors_name(home), tempfile.NamedTemporaryFile(dir=home, prefix=".probe-") as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as e:
        return OSError(e.errno, os.strerror(e.errno or 0), str(home))
    return None


def _states(home: Path) -> list[Path]:
    return [folder for folder in (home / "local", home / "azure") if folder.is_dir()]


def _is_full(folder: Path) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < 1 << 20


def _no_inodes(where: str) -> str:
    """Return a note where a disk has room for bytes and none for files."""
    for folder in (Path(where), *Path(where).parents):
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        return " (it has no free inodes: see `df -i`)" if found.f_files and not found.f_favail else ""
    return ""
