"""Answers that the laptop's servers, `phi ask` and the chat page store in the home, with lookup by id."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from chat_code.conversations import Message
from chat_code.errors import HistoryUnavailable
from chat_code.history_sqlite import answer_with
from phi_assets import faults
from phi_assets.databases import CHAT_HISTORY
from serving_code.answers import StoredAnswer, connect, sweep, write
from serving_code.sqlite_schema import NewerSchema

ANSWERS = "answers.sqlite"
ROW = "row:"  # no client can choose an id with a colon
CHAT_ROUTE = "chat"
BASE = "base"  # the route under which answers of the base model are stored
SHOWN_IDS = 5


class UnknownAnswer(LookupError):
    """No answer is stored under that id."""


class AnswersUnreadable(RuntimeError):
    """The file of answers cannot be read or written."""


class Answers:
    """The stored answers of a home's backend, in `state`. Its methods raise AnswersUnreadable."""

    def __init__(self, state: Path, days: float) -> None:
        self.path, self.days = state / ANSWERS, days

    def newest(self, count: int) -> list[StoredAnswer]:
        """The newest answers, newest first."""
        return self._rows("ORDER BY number DESC LIMIT ?", (count,))

    def last(self) -> StoredAnswer:
        """The newest answer, on the chat page too. Raises UnknownAnswer if there is none."""
        if found := [*self.newest(1), *self._of_the_chat([None])]:
            return max(found, key=lambda each: each.at)
        raise UnknownAnswer(f"no answer is kept yet; {self._rule()}. Ask one: phi ask 'Who are you?'")

    def find(self, answer_id: str) -> list[StoredAnswer]:
        """All answers with the id, or with `row:<number>`, newest first. Raises UnknownAnswer.

        The request's id from the header x-request-id is accepted too, if the request has a single answer.
        """
        if answer_id.startswith(ROW) and answer_id.removeprefix(ROW).isdecimal():
            found = self._rows("WHERE number = ?", (int(answer_id.removeprefix(ROW)),))
        else:
            ids = (answer_id, f"chatcmpl-{answer_id}")
            found = self._rows("WHERE id IN (?, ?) ORDER BY number DESC", ids) or self._of_request(answer_id)
            found = found or self._of_the_chat(ids)
        if not found:
            raise UnknownAnswer(f"no answer {answer_id!r} is kept; {self._rule()}{self._known()}")
        return found

    def models(self) -> set[tuple[str, str]]:
        """The models that the stored answers are from: name and version, and digest, which may be empty."""
        if not self.path.is_file():
            return set()
        with self._opened() as connection:
            rows = connection.execute("SELECT DISTINCT model_name, model_version, model_digest FROM answers")
            return {(f"{name} {version}", digest) for name, version, digest in rows}

    def keep(self, answer: StoredAnswer) -> None:
        """Store the answer and delete expired ones; with 0 days, store nothing and delete all."""
        if self.days <= 0 and not self.path.is_file():
            return
        with self._opened() as connection:
            if self.days > 0:
                write(connection, [answer])
            sweep(connection, self.days, answer.at)

    def add(self, answers: Sequence[StoredAnswer]) -> None:
        """Store answers that were given elsewhere, except expired ones."""
        if not answers or self.days <= 0:
            return
        with self._opened() as connection:
            write(connection, answers)
            sweep(connection, self.days, time.time())

    def ids(self) -> set[tuple[str, float]]:
        """The id and the time of every stored answer."""
        if not self.path.is_file():
            return set()
        with self._opened() as connection:
            return set(connection.execute("SELECT id, at FROM answers"))

    def _of_the_chat(self, ids: Sequence[str | None]) -> list[StoredAnswer]:
        """The answer of the chat page with one of the ids, None for the newest: its words are in its history only."""
        history = self.path.parent / CHAT_HISTORY
        try:
            kept = [each for answer_id in ids if (each := answer_with(history, answer_id))]
        except HistoryUnavailable as e:
            raise AnswersUnreadable(e.message) from e
        except (sqlite3.Error, OSError) as e:
            said = faults.sentence(e, self.path.parent.parent)
            raise AnswersUnreadable(said or f"{history}: {e}") from e
        return [_of_message(message, turns) for message, turns in kept[:1]]

    def _of_request(self, request_id: str) -> list[StoredAnswer]:
        """The answer to a /score request with one input. Raises UnknownAnswer for several inputs."""
        start = f"{request_id}/"
        found = self._rows("WHERE substr(id, 1, ?) = ? ORDER BY number DESC", (len(start), start))
        ids = sorted({each.id for each in found}, key=_position)
        if len(ids) > 1:
            shown = ", ".join(ids[:SHOWN_IDS])
            raise UnknownAnswer(f"request {request_id} had {len(ids)} inputs; ask for one of them: {shown}")
        return found

    def _rows(self, rest: str, values: tuple[Any, ...]) -> list[StoredAnswer]:
        if not self.path.is_file():
            return []
        with self._opened() as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(f"SELECT * FROM answers {rest}", values).fetchall()
        return [StoredAnswer(**{**dict(row), "messages": json.loads(row["messages"])}) for row in rows]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self.path)) as connection:
                yield connection
        except NewerSchema as e:
            raise AnswersUnreadable(str(e)) from e
        except (sqlite3.Error, OSError) as e:
            said = faults.sentence(e, self.path.parent.parent)
            raise AnswersUnreadable(said or f"{self.path}: {e}; move it away: a new one is begun") from e

    def _rule(self) -> str:
        if self.days <= 0:
            return "PHI_KEEP_ANSWERS_DAYS is 0, so none are kept"
        return f"answers are kept for {self.days:g} days (PHI_KEEP_ANSWERS_DAYS)"

    def _known(self) -> str:
        newest = ", ".join(each.id for each in self.newest(SHOWN_IDS))
        return f"; the newest: {newest} (all: phi answers)" if newest else ", and there are none yet"


def _of_message(message: Message, turns: Sequence[dict[str, str]]) -> StoredAnswer:
    served = message.served
    assert served is not None
    return StoredAnswer(
        id=served.answer_id,
        at=datetime.fromisoformat(message.at).timestamp(),
        route=BASE if message.model == BASE else CHAT_ROUTE,
        deployment=served.deployment,
        model_name=served.model,
        model_version=served.model_version,
        model_digest=served.model_digest,
        messages=turns,
        answer=message.content,
    )


def question(answer: StoredAnswer) -> str:
    """The question: the last user turn."""
    asked = [turn["content"] for turn in answer.messages if turn["role"] == "user"]
    return asked[-1] if asked else ""


def when(seconds: float) -> str:
    """Local time, to the second."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def _position(answer_id: str) -> tuple[str, int]:
    request, _, position = answer_id.rpartition("/")
    return request, int(position)
