"""POST /v1/chat/completions and GET /v1/models, compatible with OpenAI's clients."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from serving_code.batching import Batcher
from serving_code.engine import Completion, Engine
from serving_code.errors import Refusal
from serving_code.limits import read_json
from serving_code.logs import event
from serving_code.openai_answers import answer_id, chat_logprobs, envelope, sse, streamed, usage
from serving_code.openai_fields import no_model
from serving_code.openai_request import ChatRequest, parse_chat
from serving_code.service import Asked, Service, caller_of

if TYPE_CHECKING:
    from serving_code.generation import Generation

PREFIX = "chatcmpl"
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def models(request: Request) -> JSONResponse:
    """The served model, as a list of one."""
    return JSONResponse({"object": "list", "data": [_model(request.app.state.service)]})


async def model(request: Request) -> JSONResponse:
    """The served model; 404 for another."""
    service: Service = request.app.state.service
    wanted = request.path_params["model"]
    if not service.identity.answers_to(wanted):
        raise no_model(wanted, service.identity)
    return JSONResponse(_model(service))


def _model(service: Service) -> dict[str, Any]:
    name = service.identity.model_name
    return {"id": name, "object": "model", "created": service.created, "owned_by": "phi-assets"}


async def chat_completions(request: Request) -> Response:
    """Answers to a conversation, whole or streamed."""
    service: Service = request.app.state.service
    engine, batcher = service.ready()
    body = await read_json(request, service.limits)
    chat, caller = parse_chat(body, service.limits, service.identity), caller_of(request, body)
    if chat.ignored:
        event("fields_ignored", request_id=request.state.request_id, fields=chat.ignored)
    asked = [Asked(chat.turns, sampling, caller, chat.drop_oldest) for sampling in chat.choices]
    if not chat.stream:
        answers = await service.complete(request, asked, field="messages", status=400)
        request.state.usage = usage(answers)
        _store(request, service, chat, dict(enumerate(answers)))
        return JSONResponse(_whole(request, service, engine, chat, answers))
    # The places are taken before the first byte, so that a full queue gives a 429 and not a broken stream.
    request.state.held.enter_context(service.admission.places(len(asked)))
    generations = [await service.prepare(engine, each, field="messages", status=400) for each in asked]
    events = _events(request, service, engine, batcher, generations, chat)
    return StreamingResponse(guarded(request, events), media_type="text/event-stream", headers=STREAM_HEADERS)


async def guarded(request: Request, events: AsyncIterator[str]) -> AsyncIterator[str]:
    """The events; a failure becomes the last one, because the status line is already sent."""
    try:
        async for each in events:
            yield each
    except Exception:
        event("stream_failed", level=logging.ERROR, exc_info=True, request_id=request.state.request_id)
        yield sse(
            Refusal(
                500, "the model failed while generating the answer; send the request again", code="generation_failed"
            ).body()
        )


async def _events(
    request: Request,
    service: Service,
    engine: Engine,
    batcher: Batcher,
    generations: list[Generation],
    chat: ChatRequest,
) -> AsyncIterator[str]:
    """Server-sent events: the role, the text, the finish reason, the usage if requested, and the end marker."""
    head = envelope(request, service, PREFIX, "chat.completion.chunk")
    tail = {"usage": None} if chat.include_usage else {}

    def chunk(at: int, delta: dict[str, str], finish_reason: str | None = None, logprobs: Any = None) -> str:
        choice = {"index": at, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return sse(head | {"choices": [choice]} | tail)

    for at in range(len(generations)):
        yield chunk(at, {"role": "assistant", "content": ""})
    answers: dict[int, Completion] = {}
    async with aclosing(streamed(batcher, generations)) as stream:
        async for at, progress in stream:
            reported = progress.token if chat.choices[at].logprobs is not None else None
            if progress.delta or reported:
                logprobs = chat_logprobs(engine, [reported]) if reported else None
                yield chunk(at, {"content": progress.delta}, logprobs=logprobs)
            if progress.completion:
                answers[at] = progress.completion
                _store(request, service, chat, {at: progress.completion})
                request.state.usage = usage([answers[each] for each in sorted(answers)])
                yield chunk(at, {}, progress.completion.finish_reason)
    if chat.include_usage:
        yield sse(head | {"choices": [], "usage": request.state.usage})
    yield "data: [DONE]\n\n"


def _store(request: Request, service: Service, chat: ChatRequest, answers: dict[int, Completion]) -> None:
    service.store(request, [(answer_id(request, PREFIX, at), chat.turns, each.text) for at, each in answers.items()])


def _whole(
    request: Request, service: Service, engine: Engine, chat: ChatRequest, answers: list[Completion]
) -> dict[str, Any]:
    choices = [
        {
            "index": at,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": None if chat.choices[at].logprobs is None else chat_logprobs(engine, answer.choices),
            "finish_reason": answer.finish_reason,
        }
        for at, answer in enumerate(answers)
    ]
    return envelope(request, service, PREFIX, "chat.completion") | {"choices": choices, "usage": request.state.usage}
