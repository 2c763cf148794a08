"""One worker thread decodes all requests in one batch, which a request joins and leaves while it runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving_code.engine import Completion, Engine, completion_of
from serving_code.logs import event

if TYPE_CHECKING:
    from serving_code.decoding import Generation

PREFILL_TOKENS = 2048


@dataclass(frozen=True)
class Progress:
    """The result of one step for one answer: new text, and the completion after the last step, or the error."""

    delta: str = ""
    completion: Completion | None = None
    error: Exception | None = None


@dataclass(eq=False)
class Ticket:
    """A request that is waiting or running. `deliver` is called from the worker thread."""

    generation: Generation
    deliver: Callable[[Progress], None]
    cancelled: bool = False


class Batcher:
    """Decodes at most `rows` answers together."""

    def __init__(self, engine: Engine, rows: int) -> None:
        self._engine, self._rows = engine, rows
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="decoding", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the worker after its current step; waits at most `timeout` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)

    def submit(self, generation: Generation, deliver: Callable[[Progress], None]) -> Ticket:
        """Queue a generation; its progress is delivered from the worker thread."""
        ticket = Ticket(generation, deliver)
        with self._changed:
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Drop the answer from the next step on."""
        with self._changed:
            ticket.cancelled = True
            self._changed.notify()

    async def stream(self, generation: Generation) -> AsyncGenerator[Progress, None]:
        """The answer's progress, the completion last. Leaving the loop early cancels the answer."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Progress] = asyncio.Queue()
        ticket = self.submit(generation, lambda progress: _enqueue(loop, queue, progress))
        try:
            while True:
                progress = await queue.get()
                if progress.error is not None:
                    raise progress.error
                yield progress
                if progress.completion is not None:
                    return
        finally:
            self.cancel(ticket)

    async def complete(self, generation: Generation) -> Completion:
        """The whole answer."""
        async with aclosing(self.stream(generation)) as stream:
            async for progress in stream:
                if progress.completion is not None:
                    return progress.completion
        raise RuntimeError("the answer ended without a completion")

    def _work(self) -> None:
        batch = self._engine.new_batch()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waiting or self._running)
                if self._stopping:
                    return
                cancelled = self._remove_cancelled()
                newcomers = self._next_newcomers()
            for ticket in cancelled:
                batch.discard(ticket.generation)
            # A failure must neither end the thread that serves all requests nor affect unrelated answers.
            try:
                self._running += newcomers
                self._deliver(newcomers, batch.admit([ticket.generation for ticket in newcomers]))
            except Exception as e:
                self._fail(newcomers, e)
            try:
                self._deliver(self._running, batch.step())
            except Exception as e:
                self._fail(self._running, e)
                batch = self._engine.new_batch()

    def _fail(self, tickets: list[Ticket], error: Exception) -> None:
        event("decoding_failed", level=logging.ERROR, exc_info=True, answers=len(tickets))
        for ticket in list(tickets):
            ticket.deliver(Progress(error=error))
            self._running.remove(ticket)

    def _deliver(self, tickets: list[Ticket], advanced: list[Generation]) -> None:
        changed = {id(generation) for generation in advanced}
        for ticket in list(tickets):
            generation = ticket.generation
            if id(generation) in changed:
                completion = completion_of(generation) if generation.finish_reason else None
                ticket.deliver(Progress(generation.delta, completion))
                if completion:
                    self._running.remove(ticket)

    def _remove_cancelled(self) -> list[Ticket]:
        cancelled = [ticket for ticket in self._running if ticket.cancelled]
        self._running = [ticket for ticket in self._running if not ticket.cancelled]
        self._waiting = deque(ticket for ticket in self._waiting if not ticket.cancelled)
        return cancelled

    def _next_newcomers(self) -> list[Ticket]:
        """As many waiting tickets as fit. Prefill delays the rows being decoded, so its tokens are limited."""
        newcomers: list[Ticket] = []
        longest = 0
        while self._waiting and len(self._running) + len(newcomers) < self._rows:
            longest = max(longest, len(self._waiting[0].generation.prompt))
            if newcomers and longest * (len(newcomers) + 1) > PREFILL_TOKENS:
                break
            newcomers.append(self._waiting.popleft())
        return newcomers


def _enqueue(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Progress], progress: Progress) -> None:
    try:
        loop.call_soon_threadsafe(queue.put_nowait, progress)
    except RuntimeError:
        # The server's loop is closed, and with it every connection.
        return
