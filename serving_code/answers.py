"""Stores answers in a SQLite file, so that the origin of each can be looked up later.

Several processes write the same file. Storing never delays an answer: one thread writes, and answers that it cannot
write are logged and lost.
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
from serving_code.sqlite_schema import prepare

MIGRATIONS = (
    """
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
""",
)
INSERT = (
    "INSERT INTO answers (id, at, route, deployment, model_name, model_version, model_digest, messages, answer) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
DAY = 86_400.0
BUSY_SECONDS = 5.0
MAX_QUEUED, MAX_BATCH = 2_000, 200
ATTEMPTS = 3
CLOSE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class StoredAnswer:
    """One answer: its id for the client, time (seconds since 1970), deployment and model, and the conversation.

    `number` distinguishes answers for which clients sent the same id; 0 before it is written.
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
    """Open the file; creates it with permissions for its owner only. Raises sqlite3.Error or OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite gives the journal files next to this one the same mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        prepare(connection, path.name, MIGRATIONS)  # first: nothing is written to a newer release's file
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # overwrites deleted rows, so that free pages hold none
    except BaseException:
        connection.close()
        raise
    return connection


def write(connection: sqlite3.Connection, answers: Iterable[StoredAnswer]) -> None:
    """Insert the answers; the same id twice makes two rows."""
    rows = [
        (
            answer.id,
            answer.at,
            answer.route,
            answer.deployment,
            answer.model_name,
            answer.model_version,
            answer.model_digest,
            json.dumps(list(answer.messages), ensure_ascii=False),
            answer.answer,
        )
        for answer in answers
    ]
    with connection:
        connection.executemany(INSERT, rows)


def sweep(connection: sqlite3.Connection, days: float, now: float) -> int:
    """Delete the rows older than `days` and return their number."""
    with connection:
        return connection.execute("DELETE FROM answers WHERE at <= ?", (now - days * DAY,)).rowcount


def delete_all(path: Path) -> None:
    """Delete all answers from the file, if it exists. Raises sqlite3.Error or OSError."""
    if path.is_file():
        with closing(connect(path)) as connection:
            sweep(connection, 0, time.time())


class AnswerStore:
    """Writes answers to the file in its own thread, and once a day deletes those older than `days`."""

    def __init__(self, path: Path, days: float) -> None:
        self._path, self._days = path, days
        self._waiting: queue.Queue[StoredAnswer | None] = queue.Queue(MAX_QUEUED)
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    def store(self, answers: Iterable[StoredAnswer]) -> None:
        """Queue the answers for writing. Returns at once, and raises nothing."""
        lost = 0
        for answer in answers:
            try:
                self._waiting.put_nowait(answer)
            except queue.Full:
                lost += 1
        if lost:
            event(
                "answers_not_stored", level=logging.WARNING, count=lost, error="the queue of answers to write is full"
            )

    def close(self) -> None:
        """Write the queued answers, or log them as lost; waits at most twice CLOSE_SECONDS."""
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

    def _next_batch(self, seconds: float) -> tuple[list[StoredAnswer], bool]:
        """The queued answers, after waiting at most `seconds`, and whether more may come."""
        batch: list[StoredAnswer] = []
        try:
            answer = self._waiting.get(timeout=seconds)
            while answer is not None:
                batch.append(answer)
                if len(batch) == MAX_BATCH:
                    return batch, True
                answer = self._waiting.get_nowait()
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
                self._disconnect()
                if attempt == ATTEMPTS:
                    error = f"{type(e).__name__}: {e}"
                    event("answers_not_stored", level=logging.ERROR, what=what, count=count, error=error)

    def _disconnect(self) -> None:
        """Close the file, so that the next attempt opens it again: it may have been deleted or replaced."""
        if self._connection:
            self._connection.close()
            self._connection = None
