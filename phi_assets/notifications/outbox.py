"""The ledger: which causes are open, what is to be told of them, and what was told. SQLite, in a file under the home.

A notification is written down in the transaction that opens its cause and moves the position in Dagster's event log:
a process that is killed at any moment finds either none of the three or all. Before it is sent it is claimed, and after
a 2xx answer confirmed. Killed in between, nobody knows whether it arrived: it is sent again when the claim runs out. It
errs on the side of telling twice, because a doubled message costs a glance and a lost one costs a night.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLAIM_SECONDS = 60.0  # longer than a webhook may take to answer
FIRST_WAIT = 15.0
LONGEST_WAIT = 3600.0
BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
SCHEMA = """
CREATE TABLE IF NOT EXISTS place (name TEXT PRIMARY KEY, value REAL NOT NULL);
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event INTEGER NOT NULL, message TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL, told REAL
);
CREATE TABLE IF NOT EXISTS causes (
    kind TEXT, name TEXT, detail TEXT, subject TEXT, notification INTEGER NOT NULL,
    PRIMARY KEY (kind, name, detail, subject)
);
"""


@dataclass(frozen=True)
class Cause:
    """What is wrong: a check of an asset's version (`detail` is the check), a step or a run (`detail`: the error)."""

    kind: str
    name: str
    detail: str
    subject: str = ""


@dataclass(frozen=True)
class Untold:
    """A claimed notification. `tries`: how often it was sent before."""

    number: int
    message: dict[str, Any]
    tries: int


class Page:
    """The ledger within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def position(self) -> int | None:
        """Up to where Dagster's event log was read; None when it never was."""
        row = self._connection.execute("SELECT value FROM place WHERE name = 'position'").fetchone()
        return int(row[0]) if row else None

    @position.setter
    def position(self, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO place VALUES ('position', ?)", (value,))

    def is_open(self, cause: Cause) -> bool:
        where = (cause.kind, cause.name, cause.detail, cause.subject)
        found = "SELECT 1 FROM causes WHERE kind = ? AND name = ? AND detail = ? AND subject = ?"
        return self._connection.execute(found, where).fetchone() is not None

    def failed_version(self, asset: str, subject: str) -> bool:
        """Whether a check of this version of the asset is known to have failed."""
        found = "SELECT 1 FROM causes WHERE kind = 'check' AND name = ? AND subject = ?"
        return self._connection.execute(found, (asset, subject)).fetchone() is not None

    def close(self, kind: str, name: str, detail: str | None = None) -> None:
        """Forget the open causes of this name, or of this detail of it."""
        self._connection.execute(
            "DELETE FROM causes WHERE kind = ? AND name = ? AND detail = coalesce(?, detail)", (kind, name, detail)
        )

    def tell(self, causes: list[Cause], event: int, message: dict[str, Any]) -> None:
        """Open the causes, with one notification to be sent for all of them."""
        row = self._connection.execute(
            "INSERT INTO notifications (event, message, due) VALUES (?, ?, ?)",
            (event, json.dumps(message, ensure_ascii=False), time.time()),
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO causes VALUES (?, ?, ?, ?, ?)",
            [(each.kind, each.name, each.detail, each.subject, row.lastrowid) for each in causes],
        )


class Ledger:
    """An open ledger; `damaged` is where an unreadable one was put aside."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.damaged: Path | None = None
        try:
            self._connection = _opened(path)
        except sqlite3.DatabaseError as e:
            if getattr(e, "sqlite_errorcode", None) not in BROKEN:
                raise
            self.damaged = path.replace(path.with_suffix(f".damaged-{time.time_ns()}"))
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
            self._connection = _opened(path)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextmanager
    def page(self) -> Iterator[Page]:
        """One transaction: all of what is written on the page, or nothing. Another process waits for its end."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield Page(self._connection)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def claim(self) -> Untold | None:
        """The notification that has been due for longest, claimed; None when none is due."""
        now = time.time()
        row = self._connection.execute(
            "UPDATE notifications SET tries = tries + 1, due = ? WHERE id = ("
            "SELECT id FROM notifications WHERE told IS NULL AND due <= ? ORDER BY due, id LIMIT 1"
            ") RETURNING id, message, tries",
            (now + CLAIM_SECONDS, now),
        ).fetchall()
        return Untold(row[0][0], json.loads(row[0][1]), row[0][2] - 1) if row else None

    def confirm(self, untold: Untold) -> None:
        """It was received."""
        self._connection.execute("UPDATE notifications SET told = ? WHERE id = ?", (time.time(), untold.number))

    def put_off(self, untold: Untold, at_least: float = 0.0) -> float:
        """It was not received: due again after a wait that doubles each time, in seconds; up to an hour."""
        wait = min(LONGEST_WAIT, max(at_least, FIRST_WAIT * 2 ** min(untold.tries, 10)))
        self._connection.execute(
            "UPDATE notifications SET due = ? WHERE id = ? AND told IS NULL", (time.time() + wait, untold.number)
        )
        return wait

    def waiting(self) -> int:
        """How many notifications nobody has received yet."""
        return self._connection.execute("SELECT count(*) FROM notifications WHERE told IS NULL").fetchone()[0]

    def safe_position(self) -> int:
        """From where the event log would be read again without this ledger: before what nobody has received yet."""
        row = self._connection.execute("SELECT min(event) FROM notifications WHERE told IS NULL").fetchone()
        position = Page(self._connection).position or 0
        return position if row[0] is None else min(position, row[0] - 1)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=20, isolation_level=None)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _corrupt(path)
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _corrupt(path: Path) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(f"{path} is damaged")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
