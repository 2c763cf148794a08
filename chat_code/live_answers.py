"""Answers that are being generated. They go on when the page is gone, and every page can follow them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

KEPT_S = 60.0
"""How long the events of an answer can be read after its end."""
PING_S = 10.0
Key = tuple[str, str, str]
"""User, conversation and answer."""


class LiveAnswer:
    """The numbered events of one answer, and its task."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ended = False
        self.ended_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self._more = asyncio.Condition()

    async def add(self, name: str, data: dict[str, Any], *, last: bool = False) -> None:
        """Append an event, and wake who follows."""
        async with self._more:
            self.events.append((name, data))
            if last:
                self.ended, self.ended_at = True, time.monotonic()
            self._more.notify_all()

    async def follow(self, after: int = 0) -> AsyncGenerator[tuple[int, str, dict[str, Any]] | None, None]:
        """Yield the events after this number, with their numbers from 1; None where nothing came for PING_S."""
        at = after
        while True:
            while at < len(self.events):
                name, data = self.events[at]
                at += 1
                yield at, name, data
            if self.ended:
                return
            try:
                async with asyncio.timeout(PING_S), self._more:
                    while at == len(self.events) and not self.ended:
                        await self._more.wait()
            except TimeoutError:
                yield None


class LiveAnswers:
    """All answers that are being generated, or ended a moment ago. Used from one event loop only."""

    def __init__(self) -> None:
        self._answers: dict[Key, LiveAnswer] = {}

    def find(self, key: Key) -> LiveAnswer | None:
        """Return the answer; None when it is not known, or has ended long ago."""
        self._forget()
        return self._answers.get(key)

    def running(self, key: Key) -> bool:
        """Return whether the answer is being generated."""
        found = self._answers.get(key)
        return found is not None and not found.ended

    def start(self, key: Key, work: Callable[[LiveAnswer], Awaitable[None]]) -> LiveAnswer:
        """Generate an answer in a task of its own."""
        self._forget()
        answer = self._answers[key] = LiveAnswer()
        answer.task = asyncio.create_task(_run(answer, work))
        return answer

    async def stop(self, keys: list[Key]) -> None:
        """Stop answers, and wait until they are stored."""
        tasks = [found.task for key in keys if (found := self._answers.get(key)) and found.task and not found.ended]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def drop(self, user: str, conversation: str | None = None) -> list[Key]:
        """Return the keys of a person's answers, or of a conversation's."""
        return [key for key in self._answers if key[0] == user and conversation in (None, key[1])]

    def remove(self, keys: list[Key]) -> None:
        """Forget the events."""
        for key in keys:
            self._answers.pop(key, None)

    async def close(self) -> None:
        """Stop everything."""
        await self.stop(list(self._answers))

    def _forget(self) -> None:
        oldest = time.monotonic() - KEPT_S
        for key in [key for key, answer in self._answers.items() if answer.ended and answer.ended_at < oldest]:
            del self._answers[key]


async def _run(answer: LiveAnswer, work: Callable[[LiveAnswer], Awaitable[None]]) -> None:
    try:
        await work(answer)
    finally:
        if not answer.ended:
            await answer.add(
                "cut", {"why": "the answer ended with an error", "code": "failed", "retry": True}, last=True
            )
