"""The outbox: open incidents, and notifications sent and to be sent. A SQLite file under PHI_HOME.

One transaction opens an incident, stores its notification and moves the position in Dagster's event log: a process
that is killed at any moment leaves all three or none. A notification is claimed before it is sent, and confirmed after
a 2xx response. If the process is killed in between, delivery is unknown and the notification is sent again when the
claim expires: delivery is at least once, because a duplicate is cheaper than a lost message.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving_code.sqlite_schema import prepare

CLAIM_SECONDS = 60.0  # longer than the timeout of one POST
FIRST_RETRY_SECONDS = 15.0
MAX_RETRY_SECONDS = 3600.0
MOST_SENT = 1000  # received notifications that stay in the file: each tick verifies the whole file
# Existing outboxes have these names: an incident is a row of `causes`, and `told` is when a notification was received.
MIGRATIONS = (
    """
CREATE TABLE IF NOT EXISTS place (name TEXT PRIMARY KEY, value REAL NOT NULL);
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event INTEGER NOT NULL, message TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL, told REAL
);
CREATE TABLE IF NOT EXISTS causes (
    kind TEXT, name TEXT, detail TEXT, subject TEXT, notification INTEGER NOT NULL,
    PRIMARY KEY (kind, name, detail, subject)
);
""",
    "CREATE INDEX IF NOT EXISTS unsent ON notifications (due, id) WHERE told IS NULL;",
)


@dataclass(frozen=True)
class Incident:
    """A failed check of a version (`detail`: its name), or a failed step or run (`detail`: its fingerprint)."""

    kind: str
    name: str
    detail: str
    subject: str = ""


@dataclass(frozen=True)
class Notification:
    """A claimed notification. `tries`: the number of earlier attempts."""

    number: int
    message: dict[str, Any]
    tries: int


class Transaction:
    """Reads and writes of the outbox within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def position(self) -> int | None:
        """The storage id up to which Dagster's event log was read; None in a new outbox."""
        return self._place("position")

    @position.setter
    def position(self, value: int) -> None:
        self._set_place("position", value)

    @property
    def execution(self) -> int | None:
        """The number of the newest execution of a check that was read; None before the first reading."""
        return self._place("execution")

    @execution.setter
    def execution(self, value: int) -> None:
        self._set_place("execution", value)

    def _place(self, name: str) -> int | None:
        row = self._connection.execute("SELECT value FROM place WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else None

    def _set_place(self, name: str, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (name, value))

    def is_open(self, incident: Incident) -> bool:
        where = (incident.kind, incident.name, incident.detail, incident.subject)
        found = "SELECT 1 FROM causes WHERE kind = ? AND name = ? AND detail = ? AND subject = ?"
        return self._connection.execute(found, where).fetchone() is not None

    def failed_version(self, asset: str, subject: str) -> bool:
        """Return whether an incident is open for a check of this version of the asset."""
        found = "SELECT 1 FROM causes WHERE kind = 'check' AND name = ? AND subject = ?"
        return self._connection.execute(found, (asset, subject)).fetchone() is not None

    def close(self, kind: str, name: str, detail: str | None = None) -> None:
        """Close the open incidents with this name, or only those that also have this detail."""
        self._connection.execute(
            "DELETE FROM causes WHERE kind = ? AND name = ? AND detail = coalesce(?, detail)", (kind, name, detail)
        )

    def add(self, incidents: list[Incident], event: int, message: dict[str, Any]) -> None:
        """Open the incidents, and store one notification for all of them."""
        row = self._connection.execute(
            "INSERT INTO notifications (event, message, due) VALUES (?, ?, ?)",
            (event, json.dumps(message, ensure_ascii=False), time.time()),
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO causes VALUES (?, ?, ?, ?, ?)",
            [(each.kind, each.name, each.detail, each.subject, row.lastrowid) for each in incidents],
        )


class Outbox:
    """An open outbox file. `damaged` is the path to which an unreadable file was moved."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.damaged: Path | None = None
        try:
            self._connection = _open(path)
        except sqlite3.OperationalError:  # locked, disk full, no permission, a newer release: the file is intact
            raise
        except sqlite3.DatabaseError:
            self.damaged = path.replace(path.with_suffix(f".damaged-{time.time_ns()}"))
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
            self._connection = _open(path)

    def __enter__(self) -> "Outbox":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction, which commits at the end of the block or rolls back on an error. Other writers wait."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield Transaction(self._connection)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def claim(self) -> Notification | None:
        """Claim and return the notification that has been due the longest; None when none is due."""
        now = time.time()
        row = self._connection.execute(
            "UPDATE notifications SET tries = tries + 1, due = ? WHERE id = ("
            "SELECT id FROM notifications WHERE told IS NULL AND due <= ? ORDER BY due, id LIMIT 1"
            ") RETURNING id, message, tries",
            (now + CLAIM_SECONDS, now),
        ).fetchall()
        return Notification(row[0][0], json.loads(row[0][1]), row[0][2] - 1) if row else None

    def confirm(self, notification: Notification) -> None:
        """Record that the webhook received the notification, and delete those received long ago."""
        self._connection.execute("UPDATE notifications SET told = ? WHERE id = ?", (time.time(), notification.number))
        self._connection.execute(
            "DELETE FROM notifications WHERE id <= ? AND told IS NOT NULL", (notification.number - MOST_SENT,)
        )

    def postpone(self, notification: Notification, at_least: float = 0.0) -> float:
        """Schedule a retry and return the wait in seconds: it doubles with each attempt, up to an hour."""
        wait = min(MAX_RETRY_SECONDS, max(at_least, FIRST_RETRY_SECONDS * 2 ** min(notification.tries, 10)))
        self._connection.execute(
            "UPDATE notifications SET due = ? WHERE id = ? AND told IS NULL", (time.time() + wait, notification.number)
        )
        return wait

    def unsent(self) -> int:
        """Return the number of notifications that are not yet received."""
        return self._connection.execute("SELECT count(*) FROM notifications WHERE told IS NULL").fetchone()[0]

    def safe_position(self) -> int:
        """Return the position to resume from if this file is lost: before every notification not yet received."""
        row = self._connection.execute("SELECT min(event) FROM notifications WHERE told IS NULL").fetchone()
        position = Transaction(self._connection).position or 0
        return position if row[0] is None else min(position, row[0] - 1)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=20, isolation_level=None)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError(f"{path} is damaged")
        prepare(connection, path.name, MIGRATIONS)
    except BaseException:
        connection.close()
        raise
    return connection
