"""The model behind the routes: identity, readiness, and answers that are cancelled when the client disconnects."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request

from serving_code.answers import AnswerStore, StoredAnswer
from serving_code.batching import Batcher
from serving_code.disconnect import unless_gone
from serving_code.engine import Completion, Engine, PromptTooLong, Sampling, UnusablePrompt
from serving_code.errors import Refusal
from serving_code.limits import Admission, Limits
from serving_code.logs import event
from serving_code.model_folder import DType
from serving_code.prompts import Message
from serving_code.tracing import Tracing

if TYPE_CHECKING:
    from serving_code.decoding import Generation

PIN = "azureml-model-deployment"
KEEP = "x-phi-keep"


@dataclass(frozen=True)
class Identity:
    """The deployment and its registered model."""

    deployment: str = "local"
    model_name: str = "model"
    model_version: str = "0"
    model_digest: str = ""

    def __post_init__(self) -> None:
        for name, value in self.headers().items():
            if not value or not value.isascii() or not value.isprintable():
                raise ValueError(f"{name} is {value!r}; it is sent in a header, so give it printable ASCII characters")

    def headers(self) -> dict[str, str]:
        """The headers of every response, besides the request id."""
        return {
            PIN: self.deployment,
            "x-model-name": self.model_name,
            "x-model-version": self.model_version,
        }

    def fingerprint(self) -> str:
        """The identity as one string, for OpenAI's `system_fingerprint`."""
        return f"{self.deployment}/{self.model_name}:{self.model_version}"


@dataclass
class Service:
    """One model, loaded or still loading. Everything but `load` runs in the server's event loop."""

    identity: Identity
    limits: Limits = field(default_factory=Limits)
    key: str | None = None
    answers: AnswerStore | None = None
    tracing: Tracing = field(default_factory=Tracing)
    created: int = field(default_factory=lambda: int(time.time()))
    engine: Engine | None = None
    batcher: Batcher | None = None
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        self.admission = Admission(self.limits)

    def store(self, request: Request, answers: Sequence[tuple[str, Sequence[Message], str]]) -> None:
        """Store answers, each given as the id for the client, the turns before it, and its text.

        A request that names a deployment tests it before it takes traffic, and is not stored; neither is one that says
        `x-phi-keep: no`, whose sender keeps the words.
        """
        if self.answers is None or PIN in request.headers or request.headers.get(KEEP) == "no":
            return
        self.answers.store(
            StoredAnswer(
                id=answer_id,
                at=time.time(),
                route=request.url.path,
                deployment=self.identity.deployment,
                model_name=self.identity.model_name,
                model_version=self.identity.model_version,
                model_digest=self.identity.model_digest,
                messages=[{"role": turn["role"], "content": turn["content"]} for turn in turns],
                answer=text,
            )
            for answer_id, turns, text in answers
        )

    def load(self, model_dir: Path, threads: int | None = None, dtype: DType = "auto") -> None:
        """Load the model and start to answer."""
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        started = time.monotonic()
        self.engine = Engine.load(model_dir, threads=threads, dtype=dtype)
        self.batcher = Batcher(self.engine, self.limits.max_concurrency)
        event("ready", seconds=round(time.monotonic() - started, 2), context_length=self.engine.context_length)

    def load_in_background(
        self, model_dir: Path, threads: int | None, dtype: DType, on_failure: Callable[[], None]
    ) -> None:
        """Load while the server already listens; `on_failure` is called when the model cannot be loaded."""

        def run() -> None:
            try:
                self.load(model_dir, threads, dtype)
            except Exception as e:
                event("loading_failed", level=logging.ERROR, exc_info=True, error=f"{type(e).__name__}: {e}")
                on_failure()

        threading.Thread(target=run, name="loading", daemon=True).start()

    def ready(self) -> tuple[Engine, Batcher]:
        """The engine and its batcher, or 503 while the model is being loaded."""
        if self.engine is None or self.batcher is None:
            raise Refusal(
                503,
                "the model is still being loaded; poll GET /readyz until it returns 200, then try again",
                code="model_loading",
                headers={"Retry-After": "2"},
            )
        return self.engine, self.batcher

    async def complete(
        self,
        request: Request,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        field: str,
        status: int,
        drop_oldest: bool = False,
    ) -> list[Completion]:
        """All answers, decoded together. Raises ClientGone, or Refusal as `prepare` does."""
        engine, batcher = self.ready()
        with self.admission.places(len(conversations)):
            generations = [
                await self.prepare(engine, turns, sampling, field=field, status=status, drop_oldest=drop_oldest)
                for turns in conversations
            ]
            return await unless_gone(request, _all_of(batcher, generations))

    async def prepare(
        self,
        engine: Engine,
        turns: Sequence[Message],
        sampling: Sampling,
        *,
        field: str,
        status: int,
        drop_oldest: bool = False,
    ) -> Generation:
        """A generation with its tokenised prompt; runs in a thread, because a long text takes a while.

        Raises Refusal with this status and field when the prompt is too long or the chat template refuses it.
        """
        try:
            return await asyncio.to_thread(engine.prepare, turns, sampling, drop_oldest=drop_oldest)
        except PromptTooLong as e:
            raise Refusal(status, str(e), code="context_length_exceeded", param=field) from e
        except UnusablePrompt as e:
            raise Refusal(status, str(e), code="unusable_messages", param=field) from e


async def _all_of(batcher: Batcher, generations: list[Generation]) -> list[Completion]:
    """Every answer; when one fails, the others are cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(batcher.complete(generation)) for generation in generations]
    return [task.result() for task in tasks]
