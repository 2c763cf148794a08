"""Scripted answers, and their events as a stream that can be read again."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Script:
    """How the next answer is written."""

    text: str | None = None
    """None: what `answer_to` has for the question."""
    pause: float = 0.0
    """Seconds before each piece of the text."""
    hold: bool = False
    """Waits after the first piece until `ChatApiFake.release()`."""
    cut_after: int = 0
    """Closes the first connection after this many events; the answer goes on."""
    ends: str = "done"
    """`done`, or the code of a `cut`."""
    why: str = ""
    retry: bool = True


@dataclass
class Stream:
    """The events of one answer, kept for readers that come again."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ended: bool = False
    stopped: bool = False
    cut_after: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, name: str, data: dict[str, Any]) -> None:
        async with self.changed:
            self.events.append((name, json.loads(json.dumps(data))))
            self.ended = name in ("done", "cut")
            self.changed.notify_all()

    async def end(self) -> None:
        async with self.changed:
            self.ended = True
            self.changed.notify_all()


async def events_of(stream: Stream, after: int, limit: int) -> AsyncIterator[str]:
    """Yield the events after this number as they come; end after `limit` of them, if it is not 0."""
    sent = 0
    while True:
        async with stream.changed:
            while len(stream.events) <= after and not stream.ended:
                await stream.changed.wait()
        for name, data in stream.events[after:]:
            after += 1
            yield f"id: {after}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
            sent += 1
            if sent == limit:
                return
        if stream.ended:
            return
        yield ": ping\n\n"
