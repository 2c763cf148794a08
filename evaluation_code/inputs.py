"""Reads the test split and the questions. Every error names the file, the line, and the expected content."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from evaluation_code.normalise import normalise_answer


class InputError(ValueError):
    """A file or a line that cannot be used."""


class Message(TypedDict):
    """One chat turn. `learn` is false, or missing: an answer that is context only is not scored."""

    role: str
    content: str
    learn: NotRequired[bool]


def is_scored(message: Message) -> bool:
    """Whether the message is an answer that a model has to predict."""
    return message["role"] == "assistant" and message.get("learn", True) and bool(message["content"].strip())


def rendered(messages: Iterable[Message]) -> list[dict[str, str]]:
    """The messages as a chat template takes them."""
    return [{"role": message["role"], "content": message["content"]} for message in messages]


@dataclass(frozen=True)
class TestRow:
    """One published conversation of the test split."""

    __test__ = False  # not a test case, whatever its name suggests to pytest

    id: str
    group: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Question:
    """A conversation that ends in a question, and the answers that count as right."""

    messages: tuple[Message, ...]
    answers: tuple[str, ...]

    @property
    def with_history(self) -> bool:
        """Whether an assistant turn precedes the question."""
        return any(message["role"] == "assistant" for message in self.messages)


def read_test_rows(path: Path) -> list[TestRow]:
    """The rows of a published split. Raises InputError for a broken line, a second use of an id, or an empty file."""
    rows: dict[str, TestRow] = {}
    for where, value in _lines(path):
        messages = _messages(value, where)
        if not any(map(is_scored, messages)):
            raise InputError(f"{where}: no assistant turn with content, so there is nothing to score")
        row_id, group = _text(value, "id", where), _text(value, "group", where)
        if row_id in rows:
            raise InputError(f"{where}: id {row_id!r} was used before; ids are unique in a split")
        rows[row_id] = TestRow(row_id, group, messages)
    if not rows:
        raise InputError(f"{path} holds no conversation; the test split needs at least one")
    return list(rows.values())


def read_questions(path: Path | None) -> list[Question]:
    """The questions of a file, each `{"messages": [..., user turn], "answers": [...]}`; none when there is no file."""
    if path is None:
        return []
    return [_question(value, where) for where, value in _lines(path)]


def read_conversations(path: Path) -> list[tuple[Message, ...]]:
    """The messages of each line of a file, each `{"messages": [...]}`. Raises InputError, also for an empty file."""
    found = [_messages(value, where) for where, value in _lines(path)]
    if not found:
        raise InputError(f"{path} holds no conversation")
    return found


def rows_unseen_by(rows: Iterable[TestRow], train_file: Path) -> list[TestRow]:
    """The rows whose id, group and exact text do not occur in a model's training split."""
    ids: set[str] = set()
    groups: set[str] = set()
    texts: set[tuple[tuple[str, str], ...]] = set()
    for where, value in _lines(train_file):
        ids.add(_text(value, "id", where))
        groups.add(_text(value, "group", where))
        texts.add(_plain(_messages(value, where)))
    return [row for row in rows if row.id not in ids and row.group not in groups and _plain(row.messages) not in texts]


def _plain(messages: Iterable[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], message["content"].strip()) for message in messages)


def _question(value: dict[str, Any], where: str) -> Question:
    messages = _messages(value, where)
    if messages[-1]["role"] != "user":
        raise InputError(
            f"{where}: the last message is of role {messages[-1]['role']!r}; a question ends in a user turn"
        )
    answers = value.get("answers")
    if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
        raise InputError(f'{where}: "answers" must be a list of one or more texts')
    for answer in answers:
        if not normalise_answer(answer):
            raise InputError(f"{where}: answer {answer!r} holds no letter and no number, so any reply would match")
    return Question(messages, tuple(answers))


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror}") from e
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except ValueError as e:  # JSONDecodeError and UnicodeDecodeError alike
            raise InputError(f"{where}: not JSON ({e}); expected one JSON object a line") from e
        if not isinstance(value, dict):
            raise InputError(f"{where}: a JSON {type(value).__name__}; expected an object")
        yield where, value


def _messages(value: dict[str, Any], where: str) -> tuple[Message, ...]:
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InputError(f'{where}: "messages" must be a list of one or more turns')
    return tuple(_message(message, where) for message in messages)


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict) or value.get("role") not in {"system", "user", "assistant"}:
        raise InputError(f"{where}: a message needs a role of system, user or assistant, found {value!r:.80}")
    if not isinstance(value.get("content"), str):
        raise InputError(f"{where}: the content of a message must be a text, found {value.get('content')!r:.80}")
    if value.get("learn", True) is False:
        return Message(role=value["role"], content=value["content"], learn=False)
    return Message(role=value["role"], content=value["content"])


def _text(value: dict[str, Any], name: str, where: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text:
        raise InputError(f'{where}: "{name}" must be a non-empty text; is this a split of a published dataset?')
    return text
