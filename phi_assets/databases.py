"""The home's SQLite databases: which there are, whether they are damaged, and their copies.

What a damaged file held is lost for SQLite, but perhaps not for a person: it is set aside, never deleted.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

from phi_assets.files import DamagedFile, errors_name, locked, private_folder, set_aside, sync

CHAT_HISTORY = Path("chat", "history.sqlite")
COPIED = (
    Path("mlflow", "mlflow.db"),
    CHAT_HISTORY,
    Path("dagster", "history", "runs.db"),
    Path("dagster", "history", "runs", "index.db"),
    Path("dagster", "schedules", "schedules.db"),
)
"""What only these files know, by their path in the folder of a backend. The logs of single runs are not copied."""
NOT_COPIED = (Path("answers.sqlite"), Path("notifications.sqlite"), Path("prompt_flow", "pf.sqlite"))
"""Answers are deleted after PHI_KEEP_ANSWERS_DAYS, which a copy would outlive; the others are made again."""
RUNS = Path("dagster", "history", "runs")
COPIES = "backups"
KEPT = 5  # copies of each database
EMPTY = "it is empty"
MISSING = "it is missing"
MAGIC = b"SQLite format 3\0"
WAL = "-wal"
COMPANIONS = (WAL, "-shm", "-journal")
NEW_SECONDS = 2.0  # a database that another process creates at this moment is empty for an instant
BUSY_SECONDS = 20.0


@dataclass(frozen=True)
class Restored:
    """A damaged or missing database: where it was moved, and the copy that took its place; None: a new one is begun."""

    file: Path
    reason: str
    aside: Path | None
    copy: Path | None


class InUse(RuntimeError):
    """A process has a database open that is to be restored: it would write on in the file that is moved away."""


def files(state: Path) -> list[Path]:
    """Return every database of a backend's folder that exists; the last ones hold the events of one run each."""
    of_runs = [each for each in sorted((state / RUNS).glob("*.db")) if each.relative_to(state) not in COPIED]
    return [*(state / name for name in (*COPIED, *NOT_COPIED) if (state / name).is_file()), *of_runs]


def require_sound(state: Path) -> None:
    """Raise DamagedFile for a database that is not copied from nothing: SQLite takes an empty file for a new database.

    Reads the first bytes only; a page that is damaged is noticed when it is read.
    """
    for file in (state / name for name in COPIED):
        require_begun(file)


def require_readable(state: Path) -> None:
    """Raise DamagedFile for a database of ours that is made again when it is missing, as `require_sound` does."""
    for file in (state / name for name in NOT_COPIED):
        require_begun(file)


def require_begun(file: Path) -> None:
    """Raise DamagedFile when the file exists and does not begin as a SQLite database does."""
    reason = head_damage(file)
    deadline = time.monotonic() + NEW_SECONDS
    while reason == EMPTY and time.monotonic() < deadline:
        time.sleep(0.1)
        reason = head_damage(file)
    if reason:
        raise damaged(file, reason)


def head_damage(file: Path) -> str:
    """Return why the file is no database by its first bytes; empty when they are right or there is no file."""
    try:
        with file.open("rb") as stream:
            head = stream.read(len(MAGIC))
    except FileNotFoundError:
        return ""
    return "" if head == MAGIC else EMPTY if not head else "it is not a SQLite database"


def damage(file: Path) -> str:
    """Return why the database is damaged, after reading it whole; empty when it is sound or missing.

    Raises sqlite3.OperationalError when it cannot be read: it is locked, or the disk has no room for SQLite's index.
    """
    reason = head_damage(file)
    if reason or not file.is_file():
        return reason
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as e:
        return str(e)
    return "" if found == "ok" else " ".join(str(found).split())


def examine(state: Path) -> Iterator[tuple[Path, str]]:
    """Yield each damaged database of a backend's folder, with the reason; those that cannot be read are left out."""
    for file in files(state):
        with suppress(sqlite3.OperationalError):
            reason = damage(file)
            if reason:
                yield file, reason


def damaged(file: Path, reason: str) -> DamagedFile:
    """Return the error for a damaged database, with the remedy."""
    copy = _newest(_place_of(file))
    day = copy.stem.partition("-")[2] if copy else ""
    restored = f"puts back its copy of {day}" if day else "moves it away, and a new one is begun"
    return DamagedFile(file, reason, f"`phi down`, then `phi restore`, which {restored}")


def copy_all(state: Path) -> tuple[dict[Path, Path], list[DamagedFile]]:
    """Copy the databases of COPIED, and keep the newest copies of each. Return each one's copy, and what is damaged.

    Copies are exact at one moment while other processes write: `VACUUM INTO`.
    """
    copies, damages = {}, []
    with locked(state / f"{COPIES}.lock"):
        for file in (state / name for name in COPIED if (state / name).is_file()):
            reason = damage(file)
            if reason:
                damages.append(damaged(file, reason))  # its copies stay: none is deleted for one that is not made
            else:
                copies[file] = _copy(file, _place_of(file))
    return copies, damages


def restore(state: Path) -> list[Restored]:
    """Set every damaged database aside, and put its newest sound copy in its place, or in that of a missing one.

    Raises InUse, before anything is moved, while a process has one of them open.
    """
    judged = {file: damage(file) for file in files(state)} | dict.fromkeys(_missing(state), MISSING)
    found = [(file, reason) for file, reason in judged.items() if reason]
    _require_closed([file for file, _ in found])
    return [_restore(file, reason) for file, reason in found]


def _missing(state: Path) -> list[Path]:
    """Return the databases that have a copy and are not there: a backup of a home leaves out databases in use."""
    return [state / name for name in COPIED if not (state / name).exists() and _newest(state / COPIES / name)]


def _require_closed(paths: list[Path]) -> None:
    import psutil

    names = {os.path.realpath(path): path for path in paths}
    for process in psutil.process_iter() if names else ():
        with suppress(psutil.Error, OSError):
            for opened in process.open_files():
                if opened.path in names:
                    raise InUse(
                        f"process {process.pid} ({process.name()}) has {names[opened.path]} open, so nothing was "
                        "restored: `phi down` ends this home's processes; then try again"
                    )


def _restore(file: Path, reason: str) -> Restored:
    private_folder(file.parent)
    copy = next((each for each in reversed(_copies(_place_of(file))) if not damage(each)), None)
    draft = file.with_name(f".{file.name}.draft")
    if copy:
        try:
            with errors_name(draft):
                shutil.copyfile(copy, draft)
                sync(draft)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    aside = set_aside(file)
    for suffix in COMPANIONS:  # SQLite would apply them to the copy
        set_aside(file.with_name(file.name + suffix))
    if copy:
        os.replace(draft, file)
    sync(file.parent)
    return Restored(file, reason, aside, copy)


def _copy(file: Path, folder: Path) -> Path:
    private_folder(folder)
    kept = _copies(folder)
    # Numbered, because a clock that was set back would make the newest copy look old.
    number = int(kept[-1].stem.partition("-")[0]) + 1 if kept else 1
    target = folder / f"{number:06}-{date.today().isoformat()}.db"
    draft = folder / ".draft"
    _remove_draft(draft)
    try:
        with errors_name(target), closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as connection:
            connection.execute("VACUUM INTO ?", (str(draft),))
        draft.chmod(0o600)
        sync(draft)
        draft.replace(target)
        sync(folder)
    except BaseException:
        with suppress(OSError):
            _remove_draft(draft)
        raise
    for old in _copies(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return target


def _remove_draft(draft: Path) -> None:
    for suffix in ("", *COMPANIONS):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _copies(folder: Path) -> list[Path]:
    """Return the copies in the folder, the oldest first."""
    found = [each for each in folder.glob("[0-9]*-*.db") if each.stem.partition("-")[0].isdecimal()]
    return sorted(found, key=lambda each: int(each.stem.partition("-")[0]))


def _newest(folder: Path) -> Path | None:
    return next(iter(reversed(_copies(folder))), None)


def _place_of(file: Path) -> Path:
    """Return the folder of a database's copies."""
    for name in COPIED:
        if file.parts[-len(name.parts) :] == name.parts:
            state = file.parents[len(name.parts) - 1]
            return state / COPIES / name
    return file.with_name(COPIES)
