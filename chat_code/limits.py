"""What one person may use: an answer at a time, requests and tokens a day; and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chat_code.errors import Refused
from chat_code.history import History


@dataclass(frozen=True)
class Limits:
    """`answers` are generated at once, of different people; a day's limits are per person, 0 for none."""

    answers: int = 4
    day_requests: int = 0
    day_tokens: int = 0
    question_bytes: int = 65_536


class Admission:
    """Who may ask now. Used from one event loop only."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._asking: set[str] = set()
        # First come, first served: with an answer a person, nobody can be before another twice.
        self.queue = asyncio.Semaphore(limits.answers)

    @contextmanager
    def one_answer(self, user: str) -> Iterator[None]:
        """Hold the person's only place. Raises Refused."""
        if user in self._asking:
            raise Refused("busy", "one answer at a time: wait for the other to end, or stop it", retry_after=2)
        self._asking.add(user)
        try:
            yield
        finally:
            self._asking.discard(user)

    async def require_budget(self, history: History, user: str) -> None:
        """Count a request. Raises Refused when the day's requests or tokens are used up."""
        limits = self.limits
        if not limits.day_requests and not limits.day_tokens:
            return
        requests, tokens = await history.spend(user, today(), requests=1, tokens=0)
        if (limits.day_requests and requests > limits.day_requests) or (
            limits.day_tokens and tokens >= limits.day_tokens
        ):
            raise Refused("busy", "today's limit is reached; ask again tomorrow (UTC)", retry_after=_until_tomorrow())

    async def count_tokens(self, history: History, user: str, tokens: int) -> None:
        """Add an answer's tokens to the day."""
        if self.limits.day_tokens and tokens:
            await history.spend(user, today(), requests=0, tokens=tokens)


def today() -> str:
    """Return the day in UTC."""
    return datetime.now(UTC).date().isoformat()


def _until_tomorrow() -> int:
    now = datetime.now(UTC)
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((tomorrow - now).total_seconds()) + 1
