"""Answers that were given, kept in a SQLite file, so that each can be asked later where it came from.

Several processes write the same file. Keeping is never in the way of answering: one thread writes, what it cannot
write is logged and lost.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from serving_code.logs import event

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    at REAL NOT NULL,
    route TEXT NOT NULL,
    deployment TEXT NOT NULL,
    model_name TEXT NOT NULL,
    model_version TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    messages TEXT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_by_id ON answers (id);
CREATE INDEX IF NOT EXISTS answers_by_time ON answers (at);
"""
INSERT = (
    "INSERT INTO answers (id, at, route, deployment, model_name, model_version, model_digest, messages, answer) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
DAY = 86_400.0
BUSY_SECONDS = 5.0
MOST_WAITING, MOST_AT_ONCE = 2_000, 200
ATTEMPTS = 3
CLOSE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One answer: the id under which its client knows it, when (seconds since 1970), who gave it, and to what.

    `number` tells apart what clients gave the same id; 0 before it is written.
    """

    id: str
    at: float
    route: str
    deployment: str
    model_name: str
    model_version: str
    model_digest: str
    messages: Sequence[dict[str, str]]
    answer: str
    number: int = 0


def connect(path: Path) -> sqlite3.Connection:
    """The file, made for its owner alone when it is missing. Raises sqlite3.Error or OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite gives the files that it makes beside this one the same mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # what was deleted is not left readable in free pages
        connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def write(connection: sqlite3.Connection, answers: Iterable[Kept]) -> None:
    """The answers are in the file; the same id twice is two rows."""
    rows = [
        (
            each.id,
            each.at,
            each.route,
            each.deployment,
            each.model_name,
            each.model_version,
            each.model_digest,
            json.dumps(list(each.messages), ensure_ascii=False),
            each.answer,
        )
        for each in answers
    ]
    with connection:
        connection.executemany(INSERT, rows)


def sweep(connection: sqlite3.Connection, days: float, now: float) -> int:
    """How many rows older than `days` are gone now."""
    with connection:
        return connection.execute("DELETE FROM answers WHERE at <= ?", (now - days * DAY,)).rowcount


def forget_all(path: Path) -> None:
    """No answer is in the file, where there is one. Raises sqlite3.Error or OSError."""
    if path.is_file():
        with closing(connect(path)) as connection:
            sweep(connection, 0, time.time())


class AnswerKeeper:
    """Writes answers to the file from a thread of its own, and once a day takes out those older than `days`."""

    def __init__(self, path: Path, days: float) -> None:
        self._path, self._days = path, days
        self._waiting: queue.Queue[Kept | None] = queue.Queue(MOST_WAITING)
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    def keep(self, answers: Iterable[Kept]) -> None:
        """Hand the answers over. Returns at once, and raises nothing."""
        lost = 0
        for each in answers:
            try:
                self._waiting.put_nowait(each)
            except queue.Full:
                lost += 1
        if lost:
            event("answers_not_kept", level=logging.WARNING, count=lost, error="too many wait to be written")

    def close(self) -> None:
        """What was handed over is written, or logged as lost."""
        try:
            self._waiting.put(None, timeout=CLOSE_SECONDS)
        except queue.Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        sweep_at, open_for_more = 0.0, True
        while open_for_more:
            if time.time() >= sweep_at:
                self._attempt("sweep", lambda connection: sweep(connection, self._days, time.time()), 0)
                sweep_at = time.time() + DAY
            batch, open_for_more = self._next_batch(max(sweep_at - time.time(), 0.0))
            if batch:
                self._attempt("write", lambda connection, batch=batch: write(connection, batch), len(batch))
        if self._connection:
            self._connection.close()

    def _next_batch(self, seconds: float) -> tuple[list[Kept], bool]:
        """What waits, after at most so many seconds, and whether more may come."""
        batch: list[Kept] = []
        try:
            given = self._waiting.get(timeout=seconds)
            while given is not None:
                batch.append(given)
                if len(batch) == MOST_AT_ONCE:
                    return batch, True
                given = self._waiting.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _attempt(self, what: str, do, count: int) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._connection = self._connection or connect(self._path)
                do(self._connection)
                return
            except (sqlite3.Error, OSError) as e:
                self._let_go()
                if attempt == ATTEMPTS:
                    told = f"{type(e).__name__}: {e}"
                    event("answers_not_kept", level=logging.ERROR, what=what, count=count, error=told)

    def _let_go(self) -> None:
        """The next attempt opens the file anew: it may have been taken away or replaced."""
        if self._connection:
            self._connection.close()
            self._connection = None
