"""The values that pass between the stages of preparation: rows, conversations, and reasons to drop a row."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import orjson

Role = Literal["system", "user", "assistant"]
Kind = Literal["broken", "unsupported", "duplicate", "policy", "repaired"]
"""Why a row is in quarantine: `broken` data (counts towards the limit on broken rows), well-formed but `unsupported`
content, a `duplicate`, dropped or masked by `policy`, or published after it was `repaired`."""

ID_LENGTH = 16
"""Hexadecimal digits of a row's id: 64 bits, a one in a million chance of one collision among six million rows."""


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str

    @property
    def learn(self) -> bool:
        """Whether training may learn the turn, if it is of the assistant."""
        return True


class ContextOnly(Message):
    """A turn of the assistant that is context for later turns, and neither learned nor scored."""

    __slots__ = ()

    @property
    def learn(self) -> bool:
        return False


Conversation = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A JSON object as it was read, with its location (`line` counts from 1; in Parquet it is the row)."""

    file: str
    line: int
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """A part of a file that is not a JSON object, with the location of its start and an excerpt of its text."""

    file: str
    line: int
    reason: str
    text: str


class Rejected(Exception):
    """Raised for a row that can't be used; `reason` is a stable short name, by which the quarantine is counted."""

    def __init__(self, reason: str, kind: Kind, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.kind: Kind = kind
        self.detail = detail


def normalised(text: str) -> str:
    """Text with normalised compatibility forms, letter case and white space; equal results are exact duplicates."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split())


def conversation_id(conversation: Conversation) -> str:
    """The first 64 bits (hex) of the SHA-256 of the normalised conversation: equal for exact duplicates."""
    canonical = orjson.dumps(
        [[turn.role, normalised(turn.content), *([] if turn.learn else ["context"])] for turn in conversation]
    )
    return hashlib.sha256(canonical).hexdigest()[:ID_LENGTH]


def shown(path: object) -> str:
    """A path or file name as valid text; bytes that are not UTF-8 become escapes such as `\\xe9`."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")


class SourceError(Exception):
    """The source of raw conversations is malformed, missing, unreachable or unreadable."""
