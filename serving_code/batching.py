"""One worker thread decodes all requests together; a request joins the running batch and leaves when it is done."""

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
    """What a step brought to one answer: text, and the completion when it was the last, or why there is none."""

    delta: str = ""
    completion: Completion | None = None
    error: Exception | None = None


@dataclass(eq=False)
class Ticket:
    """A request in the house. `deliver` is called from the worker thread."""

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
        """End the worker after its current step, at most `timeout` seconds from now."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)

    def submit(self, generation: Generation, deliver: Callable[[Progress], None]) -> Ticket:
        """Put an answer in the queue; its progress is delivered from the worker thread."""
        ticket = Ticket(generation, deliver)
        with self._changed:
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for this answer any more: it costs nothing from the next step on."""
        with self._changed:
            ticket.cancelled = True
            self._changed.notify()

    async def stream(self, generation: Generation) -> AsyncGenerator[Progress, None]:
        """The answer's progress, the completion last. Leaving the loop early cancels the answer."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Progress] = asyncio.Queue()
        ticket = self.submit(generation, lambda progress: _hand_over(loop, queue, progress))
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
                gone = self._forget_cancelled()
                newcomers = self._next_newcomers()
            for ticket in gone:
                batch.discard(ticket.generation)
            # A failure must not end the thread that serves everyone, nor reach answers that it has nothing to do with.
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

    def _deliver(self, tickets: list[Ticket], moved: list[Generation]) -> None:
        changed = {id(generation) for generation in moved}
        for ticket in list(tickets):
            generation = ticket.generation
            if id(generation) in changed:
                completion = completion_of(generation) if generation.finish_reason else None
                ticket.deliver(Progress(generation.delta, completion))
                if completion:
                    self._running.remove(ticket)

    def _forget_cancelled(self) -> list[Ticket]:
        gone = [ticket for ticket in self._running if ticket.cancelled]
        self._running = [ticket for ticket in self._running if not ticket.cancelled]
        self._waiting = deque(ticket for ticket in self._waiting if not ticket.cancelled)
        return gone

    def _next_newcomers(self) -> list[Ticket]:
        """As many as fit; reading prompts holds up the rows that are being decoded, so not too much text at once."""
        newcomers: list[Ticket] = []
        longest = 0
        while self._waiting and len(self._running) + len(newcomers) < self._rows:
            longest = max(longest, len(self._waiting[0].generation.prompt))
            if newcomers and longest * (len(newcomers) + 1) > PREFILL_TOKENS:
                break
            newcomers.append(self._waiting.popleft())
        return newcomers


def _hand_over(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Progress], progress: Progress) -> None:
    try:
        loop.call_soon_threadsafe(queue.put_nowait, progress)
    except RuntimeError:
        # The server's loop is closed: nobody is left to answer.
        return
