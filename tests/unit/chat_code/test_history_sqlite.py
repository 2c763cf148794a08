"""The history's file: who may read it, what a kill leaves, what deletion leaves, and a newer release's file."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from chat_code.conversations import Message, now
from chat_code.errors import HistoryUnavailable
from chat_code.history_sqlite import SqliteHistory

WRITER = """
import asyncio, sys
from pathlib import Path
from chat_code.conversations import Message, now
from chat_code.history_sqlite import SqliteHistory

async def main():
    history = SqliteHistory(Path(sys.argv[1]))
    async def write(user):
        for number in range(1, 10_000):
            question = Message(f"question-{number}", None, "user", f"{user} {number}", "done", now())
            answer = Message(f"answer-{number}", question.id, "assistant", "", "running", now())
            await history.begin(user, "conversation-1", question, answer)
            print(user, number, flush=True)
    await asyncio.gather(*(write(f"user-{n}") for n in range(4)))

asyncio.run(main())
"""


def test_every_acknowledged_message_survives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "chat.sqlite"
    acknowledged: dict[str, int] = {}
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True)
        time.sleep(2)
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.stdout
        for line in writer.stdout.read().splitlines():
            user, _, number = line.partition(" ")
            acknowledged[user] = max(acknowledged.get(user, 0), int(number or 0))
        writer.stdout.close()
        writer.wait()
    assert len(acknowledged) == 4

    async def contents(user: str) -> set[str]:
        history = SqliteHistory(file)
        found = {message.content for message in (await history.read(user, "conversation-1"))[1]}
        await history.close()
        return found

    for user, last in acknowledged.items():
        assert {f"{user} {number}" for number in range(1, last + 1)} <= asyncio.run(contents(user))


def test_only_the_owner_reads_the_file_and_deletion_leaves_no_words(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "chat.sqlite"

    async def test() -> None:
        history = SqliteHistory(file)
        question = Message("question-1", None, "user", "the canary sings", "done", now())
        answer = Message("answer-1", "question-1", "assistant", "", "running", now())
        await history.begin("ann", "conversation-1", question, answer)
        await history.finish("ann", "conversation-1", replace(answer, content="canary too", state="done"))
        for path in file.parent.iterdir():
            assert path.stat().st_mode & 0o077 == 0
        assert any(b"canary" in path.read_bytes() for path in file.parent.iterdir())
        await history.delete("ann", "conversation-1")
        assert not any(b"canary" in path.read_bytes() for path in file.parent.iterdir())
        await history.close()

    asyncio.run(test())


def test_a_newer_releases_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "chat.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")
    before = file.read_bytes()

    async def test() -> None:
        history = SqliteHistory(file)
        with pytest.raises(HistoryUnavailable, match="newer release"):
            await history.conversations("ann")

    asyncio.run(test())
    assert file.read_bytes() == before


def test_a_damaged_or_missing_place_is_said_and_passes(tmp_path: Path) -> None:
    file = tmp_path / "chat.sqlite"

    async def test() -> None:
        history = SqliteHistory(file)
        file.write_bytes(b"this is not a database" * 100)
        with pytest.raises(HistoryUnavailable, match=r"chat\.sqlite"):
            await history.conversations("ann")
        file.unlink()
        assert await history.conversations("ann") == ([], "")
        await history.close()

    asyncio.run(test())


def test_old_conversations_are_swept(tmp_path: Path) -> None:
    async def test() -> None:
        history = SqliteHistory(tmp_path / "chat.sqlite")
        old = "2020-01-01T00:00:00.000Z"
        for number, at in ((1, old), (2, now())):
            question = Message(f"question-{number}", None, "user", "x", "done", at)
            answer = Message(f"answer-{number}", question.id, "assistant", "", "running", at)
            await history.begin("ann", f"conversation-{number}", question, answer)
        assert await history.sweep(0) == 0
        assert await history.sweep(30) == 1
        assert [each.id for each in (await history.conversations("ann"))[0]] == ["conversation-2"]
        await history.close()

    asyncio.run(test())
