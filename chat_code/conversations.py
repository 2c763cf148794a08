"""Conversations, their messages, and the branch of a message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

Role = Literal["user", "assistant"]
State = Literal["done", "running", "cut", "failed", "refused"]
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
TITLE_CHARACTERS = 60


@dataclass(frozen=True)
class Served:
    """The origin of an answer: the endpoint's id of it, deployment, model and data. What is unknown is empty."""

    answer_id: str = ""
    deployment: str = ""
    model: str = ""
    model_version: str = ""
    model_digest: str = ""
    dataset_digest: str = ""
    dagster_run: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens of prompt and answer, and how many of the oldest turns the endpoint left out because they did not fit."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    dropped_turns: int = 0


@dataclass(frozen=True)
class Feedback:
    """What a person says about an answer. `consent`: it may be used for training, after a review."""

    value: Literal["up", "down"]
    comment: str = ""
    correction: str = ""
    consent: bool = False
    at: str = ""


@dataclass(frozen=True)
class Conversation:
    """The conversation's header. `head` is the last message of the branch that is shown."""

    id: str
    title: str
    created: str
    updated: str
    head: str | None = None
    etag: str = ""


@dataclass(frozen=True)
class Message:
    """A question or an answer. Edited questions and repeated answers are siblings: they have the same `parent`."""

    id: str
    parent: str | None
    role: Role
    content: str
    state: State
    at: str
    why: str = ""
    model: str = ""
    served: Served | None = None
    usage: Usage | None = None
    seconds: float | None = None
    feedback: Feedback | None = None


def as_json(value: Conversation | Message | Feedback | Served) -> dict[str, Any]:
    """Return the fields as JSON has them."""
    return asdict(value)


def message_from(fields: Mapping[str, Any]) -> Message:
    """Return the message with these fields, as `as_json` gives them; unknown ones are left out."""
    known = {name: fields[name] for name in Message.__dataclass_fields__ if name in fields}
    for name, kind in (("served", Served), ("usage", Usage), ("feedback", Feedback)):
        if known.get(name) is not None:
            own = known[name]
            known[name] = kind(**{key: own[key] for key in kind.__dataclass_fields__ if key in own})
    return Message(**known)


def now() -> str:
    """Return the time in UTC, to the microsecond, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def title_of(question: str) -> str:
    """Return the beginning of a question, cut between words."""
    text = " ".join(question.split())
    if len(text) <= TITLE_CHARACTERS:
        return text
    start = text[:TITLE_CHARACTERS]
    words = start.rsplit(" ", 1)[0]
    return (words if len(words) > TITLE_CHARACTERS // 2 else start) + "…"


def branch(messages: Iterable[Message], last: str | None) -> list[Message]:
    """Return the messages from the first one to `last`, which is the end of a branch of the tree."""
    by_id = {message.id: message for message in messages}
    found: list[Message] = []
    while last is not None and last in by_id and len(found) < len(by_id):
        found.append(by_id[last])
        last = by_id[last].parent
    return found[::-1]


def turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return a branch as turns for a model. An answer without text is left out, with the question before it."""
    result: list[dict[str, str]] = []
    for message in messages:
        if message.role == "assistant" and not message.content.strip():
            while result and result[-1]["role"] == "user":
                result.pop()
        else:
            result.append({"role": message.role, "content": message.content})
    return result


def ended(message: Message, state: State, why: str) -> Message:
    """Return the message in its last state."""
    return replace(message, state=state, why=why)
