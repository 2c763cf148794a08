"""Rated answers in a chat's history."""

import asyncio
from dataclasses import replace
from pathlib import Path

from chat_code.conversations import Feedback, Message, Served, now
from chat_code.history import Rated
from chat_code.history_sqlite import SqliteHistory


def rated(
    question: str = "How long is the guarantee?",
    given: str = "One year.",
    correction: str = "Two years.",
    *,
    value: str = "down",
    user: str = "ann",
    number: int = 1,
    state: str = "done",
    before: tuple[tuple[str, str], ...] = (),
) -> Rated:
    """Return an answer that its user rated and lets be used."""
    feedback = Feedback("up" if value == "up" else "down", "", correction, True, f"2026-11-29T10:00:{number:02d}Z")
    served = Served("chatcmpl-1", "blue", "phi", "3")
    message = Message(f"answer-{number}", f"question-{number}", "assistant", given, "done", now(), served=served)
    turns = [turn for asked, said in before for turn in (_turn("user", asked), _turn("assistant", said))]
    message = replace(message, feedback=feedback, state="cut" if state == "cut" else "done")
    return Rated(user, f"conversation-{number}", message, [*turns, _turn("user", question)])


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def store(history: Path, ratings: list[Rated]) -> None:
    """Write the ratings' conversations into a history."""

    async def write() -> None:
        chat = SqliteHistory(history)
        for each in ratings:
            parent = None
            for place, turn in enumerate(each.turns[:-1:2]):
                ids = f"earlier-q{place}-{each.message.id}", f"earlier-a{place}-{each.message.id}"
                asked = Message(ids[0], parent, "user", turn["content"], "done", now())
                said = Message(ids[1], ids[0], "assistant", each.turns[place * 2 + 1]["content"], "done", now())
                await chat.begin(each.user, each.conversation, asked, said)
                parent = ids[1]
            asked = Message(f"question-of-{each.message.id}", parent, "user", each.turns[-1]["content"], "done", now())
            answer = replace(each.message, parent=asked.id)
            await chat.begin(each.user, each.conversation, asked, answer)
            await chat.rate(each.user, each.conversation, answer.id, each.message.feedback)
        await chat.close()

    asyncio.run(write())
