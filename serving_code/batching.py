"""One worker thread decodes all requests in one batch, which a request joins and leaves while it runs.

`Batcher.generate(token_ids, sampling)` is the whole engine for what stands above it: tokens in, a stream of text out.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving_code.engine import Completion, Engine, completion_of
from serving_code.logs import event
from serving_code.sampling import Sampling, TokenChoice

if TYPE_CHECKING:
    from serving_code.generation import Generation

# Everybody's next token waits for the piece of a prompt that is read with it.
STEP_SECONDS = 0.5
FEWEST_PROMPT_TOKENS, MOST_PROMPT_TOKENS = 512, 4096
# The share of the memory for keys and values that may hold prefixes of earlier requests.
PREFIX_SHARE = 0.5
IDLE_SECONDS = 30.0
LOW_MEMORY = 0.1


@dataclass(frozen=True)
class Progress:
    """The result of one step for one answer: new text, and the completion after the last step, or the error."""

    delta: str = ""
    token: TokenChoice | None = None
    completion: Completion | None = None
    error: Exception | None = None


@dataclass(eq=False)
class Ticket:
    """A request that is waiting or running. `deliver` is called from the worker thread."""

    generation: Generation
    deliver: Callable[[Progress], None]
    cancelled: bool = False


class Batcher:
    """Decodes at most `rows` answers together, and fewer when their keys and values would not fit into memory."""

    def __init__(self, engine: Engine, rows: int) -> None:
        from serving_code.prefix_cache import PrefixCache

        self._engine, self._rows = engine, rows
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._prompt_tokens = PromptTokens()
        self.prefixes = PrefixCache(int(engine.kv_tokens * PREFIX_SHARE))
        self._batch = engine.new_batch(self.prefixes)
        self._thread = threading.Thread(target=self._work, name="decoding", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End the worker after its current step; waits at most `timeout` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)

    @property
    def running(self) -> int:
        """The answers being generated now."""
        return len(self._running)

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

    def generate(
        self, token_ids: Sequence[int], sampling: Sampling, *, caller: str | None = None
    ) -> AsyncGenerator[Progress, None]:
        """The answer to a prompt in tokens, piece by piece. Raises PromptTooLong.

        Prompts of the same `caller` that begin alike are read once; None shares nothing.
        """
        return self.stream(self._engine.generation(list(token_ids), sampling, caller=caller))

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
        while True:
            with self._changed:
                awake = self._changed.wait_for(
                    lambda: self._stopping or self._waiting or self._running, timeout=IDLE_SECONDS
                )
                if self._stopping:
                    return
                cancelled = self._remove_cancelled()
            if not awake:
                self._give_back_if_low()
            for ticket in cancelled:
                self._batch.discard(ticket.generation)
            self._admit()
            self._step()

    def _admit(self) -> None:
        """Let waiting requests in, the first first, while there are rows and memory for them."""
        with self._changed:
            while self._waiting and len(self._running) < self._rows and self._batch.fits(self._waiting[0].generation):
                ticket = self._waiting.popleft()
                self._batch.admit([ticket.generation])
                self._running.append(ticket)

    def _step(self) -> None:
        """One step. A failure must neither end the thread that serves all requests nor affect unrelated answers."""
        batch, began = self._batch, time.monotonic()
        try:
            advanced = batch.step(self._prompt_tokens.now)
        except Exception as e:
            read = {id(generation) for generation in batch.reading}
            # The failed pass changed nothing, so that the others go on without the prompts that it read.
            failed = [ticket for ticket in self._running if id(ticket.generation) in read] or list(self._running)
            self._fail(failed, e)
            for ticket in failed:
                ticket.generation.caller = None
                batch.discard(ticket.generation)
            if not read:
                self._batch = self._engine.new_batch(self.prefixes)
            return
        self._prompt_tokens.took(time.monotonic() - began, batch.read_work)
        self._deliver(advanced)

    def _fail(self, tickets: list[Ticket], error: Exception) -> None:
        event("decoding_failed", level=logging.ERROR, exc_info=True, answers=len(tickets))
        for ticket in tickets:
            ticket.deliver(Progress(error=error))
            self._running.remove(ticket)

    def _deliver(self, advanced: list[Generation]) -> None:
        changed = {id(generation) for generation in advanced}
        for ticket in list(self._running):
            generation = ticket.generation
            if id(generation) in changed:
                completion = completion_of(generation) if generation.finish_reason else None
                ticket.deliver(Progress(generation.delta, generation.chosen, completion))
                if completion:
                    self._running.remove(ticket)

    def _give_back_if_low(self) -> None:
        """Drop the stored prefixes while nothing runs, when the machine is short of memory."""
        from serving_code.kv_budget import available_bytes, total_bytes

        if self.prefixes.tokens and available_bytes(self._engine.device) < LOW_MEMORY * total_bytes():
            event("prefixes_dropped", tokens=self.prefixes.tokens)
            self.prefixes.shrink(0)

    def _remove_cancelled(self) -> list[Ticket]:
        cancelled = [ticket for ticket in self._running if ticket.cancelled]
        self._running = [ticket for ticket in self._running if not ticket.cancelled]
        self._waiting = deque(ticket for ticket in self._waiting if not ticket.cancelled)
        return cancelled


class PromptTokens:
    """How many tokens of prompts a step reads: as many as keep it within STEP_SECONDS on this machine."""

    def __init__(self) -> None:
        self.now = FEWEST_PROMPT_TOKENS
        self._decoding = self._per_token = 0.0

    def took(self, seconds: float, work: float) -> None:
        """Learn from a step that read prompts of so much work, 0 for one that only decoded."""
        if not work:
            self._decoding += (seconds - self._decoding) / 4
            return
        per_token = max(seconds - self._decoding, seconds / 4) / work
        self._per_token += (per_token - self._per_token) / (4 if self._per_token else 1)
        left = max(STEP_SECONDS - self._decoding, STEP_SECONDS / 2)
        self.now = min(max(int(left / self._per_token), FEWEST_PROMPT_TOKENS), MOST_PROMPT_TOKENS)


def _enqueue(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[Progress], progress: Progress) -> None:
    try:
        loop.call_soon_threadsafe(queue.put_nowait, progress)
    except RuntimeError:
        # The server's loop is closed, and with it every connection.
        return
