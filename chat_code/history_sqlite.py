"""The history in a SQLite file, for one machine."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from chat_code.conversations import Conversation, Feedback, Message, branch, message_from, now, title_of, turns
from chat_code.errors import Changed, Conflict, HistoryUnavailable, NotFound
from chat_code.history import PAGE, History, Rated

T = TypeVar("T")
SCHEMA = 1
TABLES = """
CREATE TABLE conversations (
    user TEXT NOT NULL, id TEXT NOT NULL, title TEXT NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL,
    head TEXT, version INTEGER NOT NULL,
    PRIMARY KEY (user, id)
) WITHOUT ROWID;
CREATE INDEX newest ON conversations (user, updated DESC, id);
CREATE TABLE messages (
    user TEXT NOT NULL, conversation TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, parent TEXT,
    role TEXT NOT NULL, content TEXT NOT NULL, state TEXT NOT NULL, at TEXT NOT NULL, why TEXT NOT NULL,
    model TEXT NOT NULL, served TEXT, usage TEXT, seconds REAL, feedback TEXT,
    PRIMARY KEY (user, conversation, seq),
    UNIQUE (user, conversation, id)
) WITHOUT ROWID;
CREATE INDEX rated ON messages (user, conversation) WHERE feedback IS NOT NULL;
CREATE TABLE spent (
    user TEXT NOT NULL, day TEXT NOT NULL, requests INTEGER NOT NULL, tokens INTEGER NOT NULL,
    PRIMARY KEY (user, day)
) WITHOUT ROWID;
"""
JSON_COLUMNS = ("served", "usage", "feedback")
COLUMNS = tuple(Message.__dataclass_fields__)
BUSY_SECONDS = 10.0
READERS = 4


class NewerHistory(HistoryUnavailable):
    """A newer release wrote the file."""


class SqliteHistory(History):
    """The history in one file, which only its owner may read. One thread writes, and a few read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connections: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._making = threading.Lock()
        # A semaphore over threads of asyncio's pool: more readers than this only wait for each other.
        self._readers = asyncio.Semaphore(READERS)
        self._writer = asyncio.Lock()

    async def begin(
        self, user: str, conversation: str, question: Message, answer: Message
    ) -> tuple[Conversation, Message, Message]:
        def work(db: sqlite3.Connection) -> tuple[Conversation, Message, Message]:
            if _conversation(db, user, conversation) is None:
                title = title_of(question.content)
                values = (user, conversation, title, question.at, question.at)
                db.execute("INSERT INTO conversations VALUES (?, ?, ?, ?, ?, NULL, 0)", values)
            asked = _message(db, user, conversation, question.id)
            if asked is None:
                if question.parent is not None and _message(db, user, conversation, question.parent) is None:
                    raise NotFound("message")
                _insert(db, user, conversation, question)
                asked = question
            elif (asked.content, asked.parent, asked.role) != (question.content, question.parent, question.role):
                raise Conflict
            stored = _message(db, user, conversation, answer.id)
            if stored is not None and (stored.role != "assistant" or stored.parent != question.id):
                raise Conflict
            if stored is None:
                _insert(db, user, conversation, answer)
            elif stored.state == "failed" and not stored.content:
                _update(db, user, conversation, answer)
            else:
                return _known(db, user, conversation), asked, stored
            _touch(db, user, conversation, answer.at, answer.id)
            return _known(db, user, conversation), asked, answer

        return await self._write(work)

    async def finish(self, user: str, conversation: str, answer: Message) -> Conversation:
        def work(db: sqlite3.Connection) -> Conversation:
            stored = _message(db, user, conversation, answer.id)
            if stored is None:
                raise NotFound
            _update(db, user, conversation, replace(answer, feedback=stored.feedback))
            _touch(db, user, conversation, now(), None)
            return _known(db, user, conversation)

        return await self._write(work)

    async def conversations(self, user: str, cursor: str = "", search: str = "") -> tuple[list[Conversation], str]:
        def work(db: sqlite3.Connection) -> tuple[list[Conversation], str]:
            where, values = "user = ?", [user]
            if cursor:
                updated, _, after = cursor.partition("/")
                where += " AND (updated < ? OR (updated = ? AND id > ?))"
                values += [updated, updated, after]
            if search:
                where += (
                    " AND (instr(folded(title), ?) OR EXISTS (SELECT 1 FROM messages WHERE messages.user ="
                    " conversations.user AND conversation = conversations.id AND instr(folded(content), ?)))"
                )
                values += [search.casefold()] * 2
            rows = db.execute(
                f"SELECT * FROM conversations WHERE {where} ORDER BY updated DESC, id LIMIT ?", (*values, PAGE + 1)
            ).fetchall()
            found = [_header(row) for row in rows[:PAGE]]
            return found, f"{found[-1].updated}/{found[-1].id}" if len(rows) > PAGE else ""

        return await self._read(work)

    async def read(self, user: str, conversation: str) -> tuple[Conversation, list[Message]]:
        def work(db: sqlite3.Connection) -> tuple[Conversation, list[Message]]:
            return _known(db, user, conversation), _messages(db, user, conversation)

        return await self._read(work)

    async def change(
        self, user: str, conversation: str, *, title: str | None = None, head: str | None = None, etag: str = ""
    ) -> Conversation:
        def work(db: sqlite3.Connection) -> Conversation:
            found = _known(db, user, conversation)
            if etag and etag != found.etag:
                raise Changed
            if head is not None and _message(db, user, conversation, head) is None:
                raise NotFound("message")
            db.execute(
                "UPDATE conversations SET title = ?, head = ?, version = version + 1 WHERE user = ? AND id = ?",
                (found.title if title is None else title, head or found.head, user, conversation),
            )
            return _known(db, user, conversation)

        return await self._write(work)

    async def rate(self, user: str, conversation: str, message: str, feedback: Feedback | None) -> Message:
        def work(db: sqlite3.Connection) -> Message:
            found = _message(db, user, conversation, message)
            if found is None or found.role != "assistant":
                raise NotFound("answer")
            rated = replace(found, feedback=feedback)
            _update(db, user, conversation, rated)
            return rated

        return await self._write(work)

    async def delete(self, user: str, conversation: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            _known(db, user, conversation)
            _delete(db, user, conversation)

        await self._write(work, emptied=True)

    async def delete_all(self, user: str) -> int:
        def work(db: sqlite3.Connection) -> int:
            db.execute("DELETE FROM messages WHERE user = ?", (user,))
            db.execute("DELETE FROM spent WHERE user = ? AND day < ?", (user, now()[:10]))
            return db.execute("DELETE FROM conversations WHERE user = ?", (user,)).rowcount

        return await self._write(work, emptied=True)

    async def spend(self, user: str, day: str, *, requests: int, tokens: int) -> tuple[int, int]:
        def work(db: sqlite3.Connection) -> tuple[int, int]:
            db.execute(
                "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " requests = requests + excluded.requests, tokens = tokens + excluded.tokens",
                (user, day, requests, tokens),
            )
            row = db.execute("SELECT requests, tokens FROM spent WHERE user = ? AND day = ?", (user, day)).fetchone()
            return row["requests"], row["tokens"]

        return await self._write(work)

    async def rated(self) -> AsyncIterator[Rated]:
        def work(db: sqlite3.Connection) -> list[Rated]:
            keys = db.execute("SELECT DISTINCT user, conversation FROM messages WHERE feedback IS NOT NULL").fetchall()
            found: list[Rated] = []
            for user, conversation in keys:
                messages = _messages(db, user, conversation)
                found += [
                    Rated(user, conversation, message, turns(branch(messages, message.parent)))
                    for message in messages
                    if message.feedback and message.feedback.consent
                ]
            return found

        for each in await self._read(work):
            yield each

    async def everything(self, conversation: str | None = None) -> list[tuple[str, str]]:
        """Return the user and the id of every conversation, or of those with this id; for the machine's owner only."""

        def work(db: sqlite3.Connection) -> list[tuple[str, str]]:
            where, values = ("WHERE id = ?", [conversation]) if conversation is not None else ("", [])
            rows = db.execute(f"SELECT user, id FROM conversations {where}", values)
            return [(row["user"], row["id"]) for row in rows]

        return await self._read(work)

    async def sweep(self, days: float) -> int:
        if days <= 0:
            return 0
        oldest = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds").replace("+00:00", "Z")

        def work(db: sqlite3.Connection) -> int:
            old = db.execute("SELECT user, id FROM conversations WHERE updated < ?", (oldest,)).fetchall()
            for user, conversation in old:
                _delete(db, user, conversation)
            return len(old)

        return await self._write(work, emptied=True)

    async def close(self) -> None:
        while not self._connections.empty():
            self._connections.get().close()

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._readers:
            return await asyncio.to_thread(self._with_connection, work)

    async def _write(self, work: Callable[[sqlite3.Connection], T], *, emptied: bool = False) -> T:
        async with self._writer:
            return await asyncio.to_thread(self._with_connection, lambda db: _transaction(db, work, emptied=emptied))

    def _with_connection(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._connection() as db:
            return work(db)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; after an error it is closed, since the file may have been replaced."""
        db: sqlite3.Connection | None = None
        try:
            try:
                db = self._connections.get_nowait()
            except queue.Empty:
                with self._making:
                    db = connect(self._path)
            yield db
        except (sqlite3.Error, OSError) as e:
            if db is not None:
                db.close()
                db = None
            raise HistoryUnavailable(f"{self._path.name}: {e}") from e
        finally:
            if db is not None:
                self._connections.put(db)


def answer_with(path: Path, answer_id: str | None) -> tuple[Message, list[dict[str, str]]] | None:
    """Return the answer with the endpoint's id, or the newest for None, of any user, and the turns before it.

    None when there is no such answer. For the project's own `phi why`, on the owner's machine. Raises sqlite3.Error,
    OSError or NewerHistory.
    """
    if not path.is_file():
        return None
    with closing(connect(path)) as db:
        row = db.execute(
            "SELECT user, conversation, id FROM messages WHERE served IS NOT NULL"
            " AND (?1 IS NULL OR json_extract(served, '$.answer_id') = ?1) ORDER BY at DESC LIMIT 1",
            (answer_id,),
        ).fetchone()
        if row is None:
            return None
        messages = _messages(db, row["user"], row["conversation"])
    [found] = [message for message in messages if message.id == row["id"]]
    return found, turns(branch(messages, found.parent))


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, and make it when there is none. Raises sqlite3.Error, OSError or NewerHistory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite gives the journal files next to this one the same mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise NewerHistory(f"{path.name} was written by a newer release; use that release")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")  # a message that was acknowledged survives a loss of power
        db.create_function("folded", 1, str.casefold, deterministic=True)
        db.execute("PRAGMA secure_delete=ON")  # overwrites what was deleted
        if version == 0:
            _transaction(db, _make_tables)
    except BaseException:
        db.close()
        raise
    return db


def _make_tables(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA user_version").fetchone()[0] == 0:  # another process may have been quicker
        for statement in TABLES.split(";"):
            if statement.strip():
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA}")


def _transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T], *, emptied: bool = False) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if emptied:  # the log beside the file still has the pages that held the words
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return result


def _header(row: sqlite3.Row) -> Conversation:
    return Conversation(row["id"], row["title"], row["created"], row["updated"], row["head"], str(row["version"]))


def _conversation(db: sqlite3.Connection, user: str, conversation: str) -> Conversation | None:
    row = db.execute("SELECT * FROM conversations WHERE user = ? AND id = ?", (user, conversation)).fetchone()
    return None if row is None else _header(row)


def _known(db: sqlite3.Connection, user: str, conversation: str) -> Conversation:
    found = _conversation(db, user, conversation)
    if found is None:
        raise NotFound
    return found


def _of_row(row: sqlite3.Row) -> Message:
    fields: dict[str, Any] = dict(row)
    for name in JSON_COLUMNS:
        fields[name] = json.loads(fields[name]) if fields[name] else None
    return message_from(fields)


def _message(db: sqlite3.Connection, user: str, conversation: str, message: str) -> Message | None:
    row = db.execute(
        "SELECT * FROM messages WHERE user = ? AND conversation = ? AND id = ?", (user, conversation, message)
    ).fetchone()
    return None if row is None else _of_row(row)


def _messages(db: sqlite3.Connection, user: str, conversation: str) -> list[Message]:
    rows = db.execute("SELECT * FROM messages WHERE user = ? AND conversation = ? ORDER BY seq", (user, conversation))
    return [_of_row(row) for row in rows]


def _values(message: Message) -> list[Any]:
    fields = asdict(message)
    for name in JSON_COLUMNS:
        fields[name] = json.dumps(fields[name], ensure_ascii=False) if fields[name] is not None else None
    return [fields[name] for name in COLUMNS]


def _insert(db: sqlite3.Connection, user: str, conversation: str, message: Message) -> None:
    marks = ", ".join("?" * len(COLUMNS))
    db.execute(
        f"INSERT INTO messages (user, conversation, seq, {', '.join(COLUMNS)}) SELECT ?, ?,"
        f" COALESCE(MAX(seq), 0) + 1, {marks} FROM messages WHERE user = ? AND conversation = ?",
        (user, conversation, *_values(message), user, conversation),
    )


def _update(db: sqlite3.Connection, user: str, conversation: str, message: Message) -> None:
    db.execute(
        f"UPDATE messages SET {', '.join(f'{name} = ?' for name in COLUMNS)}"
        " WHERE user = ? AND conversation = ? AND id = ?",
        (*_values(message), user, conversation, message.id),
    )


def _touch(db: sqlite3.Connection, user: str, conversation: str, updated: str, head: str | None) -> None:
    db.execute(
        "UPDATE conversations SET updated = MAX(updated, ?), head = COALESCE(?, head), version = version + 1"
        " WHERE user = ? AND id = ?",
        (updated, head, user, conversation),
    )


def _delete(db: sqlite3.Connection, user: str, conversation: str) -> None:
    db.execute("DELETE FROM messages WHERE user = ? AND conversation = ?", (user, conversation))
    db.execute("DELETE FROM conversations WHERE user = ? AND id = ?", (user, conversation))
