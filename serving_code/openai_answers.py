"""What chat completions and completions share in their answers: streams, log probabilities and token counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from serving_code.engine import Completion
from serving_code.sampling import TokenChoice
from serving_code.service import Service
from serving_code.text import REPLACEMENT

if TYPE_CHECKING:
    from serving_code.batching import Batcher, Progress
    from serving_code.engine import Engine
    from serving_code.generation import Generation


async def streamed(batcher: Batcher, generations: Sequence[Generation]) -> AsyncGenerator[tuple[int, Progress], None]:
    """The progress of several answers as it comes, each with its position. Leaving the loop early cancels them all."""
    queue: asyncio.Queue[tuple[int, Progress] | Exception] = asyncio.Queue()

    async def follow(at: int, generation: Generation) -> None:
        try:
            async with aclosing(batcher.stream(generation)) as stream:
                async for progress in stream:
                    queue.put_nowait((at, progress))
        except Exception as e:
            queue.put_nowait(e)

    tasks = [asyncio.create_task(follow(at, generation)) for at, generation in enumerate(generations)]
    unfinished = len(tasks)
    try:
        while unfinished:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            unfinished -= item[1].completion is not None
            yield item
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


def envelope(request: Request, service: Service, prefix: str, kind: str) -> dict[str, Any]:
    """The fields of every answer and chunk."""
    return {
        "id": answer_id(request, prefix),
        "object": kind,
        "created": request.state.created,
        "model": service.identity.model_name,
        "system_fingerprint": service.identity.fingerprint(),
    }


def answer_id(request: Request, prefix: str, choice: int = 0) -> str:
    """The id of an answer; the second choice and those after it are stored with their position."""
    return f"{prefix}-{request.state.request_id}" + (f"/{choice}" if choice else "")


def sse(value: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def usage(answers: Sequence[Completion], prompts: int = 1) -> dict[str, Any]:
    """Token counts. The choices of one prompt count its tokens once; `prompts` is the number of different prompts.

    `phi_dropped_turns` says how many of the oldest turns were left out, if any were.
    """
    choices = max(len(answers) // prompts, 1)
    read = sum(answer.prompt_tokens for answer in answers[::choices])
    written = sum(answer.completion_tokens for answer in answers)
    dropped = {"phi_dropped_turns": answers[0].dropped_turns} if answers[0].dropped_turns else {}
    return dropped | {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": sum(answer.cached_tokens for answer in answers[::choices])},
    }


def chat_logprobs(engine: Engine, choices: Sequence[TokenChoice]) -> dict[str, Any]:
    """Log probabilities as chat completions have them."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        text = engine.token_text(token)
        # A token can be a part of a character, and then has no text of its own.
        return {"token": text, "logprob": logprob, "bytes": None if REPLACEMENT in text else list(text.encode())}

    content = [
        entry(choice.token, choice.logprob) | {"top_logprobs": [entry(*pair) for pair in choice.top]}
        for choice in choices
    ]
    return {"content": content, "refusal": None}


def text_logprobs(engine: Engine, choices: Sequence[TokenChoice], start: int = 0) -> dict[str, Any]:
    """Log probabilities as completions have them; `start` is the length of the text before."""
    texts = [engine.token_text(choice.token) for choice in choices]
    offsets = [start + sum(map(len, texts[:at])) for at in range(len(texts))]
    return {
        "tokens": texts,
        "token_logprobs": [choice.logprob for choice in choices],
        "top_logprobs": [{engine.token_text(token): value for token, value in choice.top} for choice in choices],
        "text_offset": offsets,
    }
