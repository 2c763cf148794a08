"""POST /v1/completions: texts continued without a chat template, as OpenAI's clients expect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from serving_code.engine import Completion, Engine
from serving_code.errors import Refusal
from serving_code.limits import read_json
from serving_code.logs import event
from serving_code.openai_answers import envelope, sse, streamed, text_logprobs, usage
from serving_code.openai_api import STREAM_HEADERS, guarded
from serving_code.openai_fields import AnswerFields, choices_of, read, unsupported
from serving_code.service import Asked, Service, caller_of

if TYPE_CHECKING:
    from serving_code.batching import Batcher
    from serving_code.generation import Generation

PREFIX = "cmpl"
DEFAULT_TOKENS = 16  # OpenAI's default


class CompletionBody(AnswerFields):
    """The fields of a completion. A prompt is a text or a list of tokens; several make as many answers."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    best_of: int | None = None
    echo: bool | None = None
    suffix: str | None = None


async def completions(request: Request) -> Response:
    """Texts continued, whole or streamed."""
    service: Service = request.app.state.service
    engine, batcher = service.ready()
    body = await read_json(request, service.limits)
    asked, prompts, fields = parse(body, service, caller_of(request, body))
    if fields.model_extra:
        event("fields_ignored", request_id=request.state.request_id, fields=sorted(fields.model_extra))
    if not fields.stream:
        answers = await service.complete(request, asked, field="prompt", status=400)
        request.state.usage = usage(answers, prompts)
        choices = [
            choice_of(at, each.text, each.finish_reason, _logprobs(engine, fields, each))
            for at, each in enumerate(answers)
        ]
        head = envelope(request, service, PREFIX, "text_completion")
        return JSONResponse(head | {"choices": choices, "usage": request.state.usage})
    request.state.held.enter_context(service.admission.places(len(asked)))
    generations = [await service.prepare(engine, each, field="prompt", status=400) for each in asked]
    events = _events(request, service, engine, batcher, generations, fields, prompts)
    return StreamingResponse(guarded(request, events), media_type="text/event-stream", headers=STREAM_HEADERS)


def parse(body: dict[str, Any], service: Service, caller: str) -> tuple[list[Asked], int, CompletionBody]:
    """What is wanted, prompt by prompt and choice by choice, the number of prompts, and the fields."""
    fields = read(CompletionBody, body, service.identity)
    for name in ("echo", "suffix"):
        if getattr(fields, name):
            raise unsupported(name, f"{name} is not supported; leave it out")
    if fields.best_of not in (None, fields.n or 1):
        raise unsupported("best_of", "best_of is not supported; leave it out, or send the value of n")
    prompts: list[Any] = fields.prompt if _several(fields.prompt) else [fields.prompt]  # type: ignore[assignment]
    if not prompts or not all(prompts):
        raise Refusal(400, "prompt is empty; send a text", code="invalid_value", param="prompt")
    if len(prompts) > service.limits.max_inputs:
        raise Refusal(
            400,
            f"prompt has {len(prompts)} texts and at most {service.limits.max_inputs} are accepted; send fewer",
            code="too_many_inputs",
            param="prompt",
        )
    sampling = fields.sampling(service.limits, max_tokens=fields.max_tokens or DEFAULT_TOKENS, logprobs=fields.logprobs)
    choices = choices_of(sampling, fields.n)
    return [Asked(prompt, choice, caller) for prompt in prompts for choice in choices], len(prompts), fields


def _several(prompt: Any) -> bool:
    return isinstance(prompt, list) and not all(isinstance(each, int) for each in prompt)


def _logprobs(engine: Engine, fields: CompletionBody, answer: Completion) -> dict[str, Any] | None:
    return None if fields.logprobs is None else text_logprobs(engine, answer.choices)


def choice_of(at: int, text: str, finish_reason: str | None, logprobs: Any) -> dict[str, Any]:
    """One choice of a completion or of its chunk."""
    return {"index": at, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}


async def _events(
    request: Request,
    service: Service,
    engine: Engine,
    batcher: Batcher,
    generations: list[Generation],
    fields: CompletionBody,
    prompts: int,
) -> AsyncIterator[str]:
    head = envelope(request, service, PREFIX, "text_completion")
    written = [0] * len(generations)
    answers: dict[int, Completion] = {}
    async with aclosing(streamed(batcher, generations)) as stream:
        async for at, progress in stream:
            reported = progress.token if fields.logprobs is not None else None
            if progress.delta or reported or progress.completion:
                logprobs = text_logprobs(engine, [reported], written[at]) if reported else None
                reason = progress.completion.finish_reason if progress.completion else None
                yield sse(head | {"choices": [choice_of(at, progress.delta, reason, logprobs)]})
                written[at] += len(progress.delta)
            if progress.completion:
                answers[at] = progress.completion
    request.state.usage = usage([answers[each] for each in sorted(answers)], prompts)
    if fields.stream_options and fields.stream_options.include_usage:
        yield sse(head | {"choices": [], "usage": request.state.usage})
    yield "data: [DONE]\n\n"
