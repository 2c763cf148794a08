"""Conversations by id, on disk, and where each came from."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson

from phi_assets.conversations.rows import ContextOnly, Conversation, Message
from phi_assets.conversations.spool import Spool


class Origin(NamedTuple):
    """The source of a conversation; `position` counts all rows that were read."""

    position: int
    file: str
    line: int


class StoredConversations(Mapping[str, Conversation]):
    """Conversations by id, in the order in which they were added; about 200 bytes of memory each."""

    def __init__(self, folder: Path | None = None) -> None:
        self._spool = Spool(folder)
        self._numbers: dict[str, int] = {}
        self._origins = array("Q")
        self._files: dict[str, int] = {}

    def add(self, row_id: str, conversation: Conversation, origin: Origin) -> None:
        """Store a conversation whose id is new."""
        self._numbers[row_id] = len(self._spool)
        file = self._files.setdefault(origin.file, len(self._files))
        self._origins.extend((origin.position, file, origin.line))
        turns = [(*turn,) if turn.learn else (*turn, False) for turn in conversation]
        self._spool.append(orjson.dumps(turns))

    def origin(self, row_id: str) -> Origin:
        """Where the conversation came from. Raises KeyError."""
        start = 3 * self._numbers[row_id]
        position, file, line = self._origins[start : start + 3]
        return Origin(position, list(self._files)[file], line)

    def __getitem__(self, row_id: str) -> Conversation:
        turns = orjson.loads(self._spool[self._numbers[row_id]])
        return tuple([Message(*turn) if len(turn) == 2 else ContextOnly(*turn[:2]) for turn in turns])

    def __contains__(self, row_id: object) -> bool:
        return row_id in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
