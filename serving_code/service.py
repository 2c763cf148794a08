"""The model behind the routes: identity, readiness, and answers that are cancelled when the client disconnects."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request

from serving_code.answers import AnswerStore, StoredAnswer
from serving_code.batching import Batcher
from serving_code.disconnect import unless_gone
from serving_code.engine import Completion, Engine, PromptTooLong, Sampling, UnusablePrompt, UnusableSchema
from serving_code.errors import Refusal
from serving_code.limits import Admission, Limits
from serving_code.logs import event
from serving_code.metrics import Metrics
from serving_code.model_folder import DType
from serving_code.prompts import Message
from serving_code.tracing import Tracing

if TYPE_CHECKING:
    from serving_code.generation import Generation

# The fields by which OpenAI's and vLLM's clients name the person or the group that a request is for.
CALLER_FIELDS = ("cache_salt", "prompt_cache_key", "safety_identifier", "user")
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

    def answers_to(self, model: str) -> bool:
        """Whether a client means this model: by its name, its name and version, or its deployment's name."""
        return model in (self.model_name, f"{self.model_name}:{self.model_version}", self.deployment)

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
    metrics: Metrics = field(default_factory=Metrics)
    cors_origins: tuple[str, ...] = ()
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
        kv_bytes = self.limits.kv_memory_mb * 1_000_000 or None
        self.engine = Engine.load(model_dir, threads=threads, dtype=dtype, kv_bytes=kv_bytes)
        self.batcher = Batcher(self.engine, self.limits.max_concurrency)
        event(
            "ready",
            seconds=round(time.monotonic() - started, 2),
            context_length=self.engine.context_length,
            kv_tokens=self.engine.kv_tokens,
        )

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

    async def complete(self, request: Request, asked: Sequence[Asked], *, field: str, status: int) -> list[Completion]:
        """All answers, decoded together. Raises ClientGone, or Refusal as `prepare` does."""
        engine, batcher = self.ready()
        with self.admission.places(len(asked)):
            generations = [await self.prepare(engine, each, field=field, status=status) for each in asked]
            return await unless_gone(request, _all_of(batcher, generations))

    async def prepare(self, engine: Engine, asked: Asked, *, field: str, status: int) -> Generation:
        """A generation with its tokenised prompt; runs in a thread, because a long text takes a while.

        Raises Refusal with this status and field when the prompt is too long or the chat template refuses it.
        """
        try:
            return await asyncio.to_thread(asked.generation, engine)
        except PromptTooLong as e:
            raise Refusal(status, str(e), code="context_length_exceeded", param=field) from e
        except UnusablePrompt as e:
            raise Refusal(status, str(e), code="unusable_messages", param=field) from e
        except UnusableSchema as e:
            raise Refusal(400, str(e), code="unusable_schema", param="response_format") from e


@dataclass(frozen=True)
class Asked:
    """One answer that is wanted: to a conversation, a text or tokens. `caller` is whose stored prefixes are read."""

    prompt: Sequence[Message] | str | list[int]
    sampling: Sampling
    caller: str | None = None
    drop_oldest: bool = False

    def generation(self, engine: Engine) -> Generation:
        """The generation, not started. Raises PromptTooLong, UnusablePrompt or UnusableSchema."""
        if isinstance(self.prompt, str):
            return engine.generation(engine.encode_text(self.prompt), self.sampling, caller=self.caller)
        if self.prompt and isinstance(self.prompt[0], int):
            return engine.generation(cast(list[int], self.prompt), self.sampling, caller=self.caller)
        turns = cast(Sequence[Message], self.prompt)
        return engine.prepare(turns, self.sampling, drop_oldest=self.drop_oldest, caller=self.caller)


def caller_of(request: Request, body: Mapping[str, Any]) -> str:
    """Whose stored prefixes a request may read: those of the same key and the same CALLER_FIELDS, as one digest."""
    said = [request.headers.get("authorization"), *(body.get(name) for name in CALLER_FIELDS)]
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()


async def _all_of(batcher: Batcher, generations: list[Generation]) -> list[Completion]:
    """Every answer; when one fails, the others are cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(batcher.complete(generation)) for generation in generations]
    return [task.result() for task in tasks]
