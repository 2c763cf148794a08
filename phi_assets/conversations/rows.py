"""What the stages of preparation hand to each other: rows as read, conversations, and reasons to drop one."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import orjson

Role = Literal["system", "user", "assistant"]
Kind = Literal["broken", "unsupported", "duplicate", "policy", "repaired"]
"""Why a row is in quarantine: `broken` data (counted against the limit on broken rows), well-formed but `unsupported`
content, a mere `duplicate`, dropped or masked by `policy`, or kept after it was `repaired`."""

ID_LENGTH = 16
"""Hexadecimal digits of a row's id: 64 bits, a one in a million chance of one clash among six million rows."""


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


Conversation = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A JSON object as it was read, with the place it came from (`line` counts from 1; in Parquet it is the row)."""

    file: str
    line: int
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """A piece of a file that is not a JSON object, with the place where it starts and an excerpt of its text."""

    file: str
    line: int
    reason: str
    text: str


class Rejected(Exception):
    """Raised for a row that can't be kept; `reason` is a stable short name that the quarantine is counted by."""

    def __init__(self, reason: str, kind: Kind, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.kind: Kind = kind
        self.detail = detail


def normalised(text: str) -> str:
    """Text with compatibility forms, letter case and white space evened out; equal results mean an exact duplicate."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def conversation_id(conversation: Conversation) -> str:
    """The first 64 bits (hex) of the SHA-256 of the normalised conversation: equal for exact duplicates."""
    canonical = orjson.dumps([[role, normalised(content)] for role, content in conversation])
    return hashlib.sha256(canonical).hexdigest()[:ID_LENGTH]


class SourceError(Exception):
    """The source of raw conversations can't be named, found, reached or opened."""
