"""POST /v1/chat/completions and GET /v1/models, compatible with OpenAI's clients."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from serving_code.batching import Batcher
from serving_code.engine import Completion
from serving_code.errors import Refusal
from serving_code.limits import read_json
from serving_code.logs import event
from serving_code.openai_request import ChatRequest, parse_chat
from serving_code.service import Service, caller_of

if TYPE_CHECKING:
    from serving_code.generation import Generation


async def models(request: Request) -> JSONResponse:
    """The served model, as a list of one."""
    service: Service = request.app.state.service
    model = {"id": service.identity.model_name, "object": "model", "created": service.created, "owned_by": "phi-assets"}
    return JSONResponse({"object": "list", "data": [model]})


async def chat_completions(request: Request) -> Response:
    """One answer to a conversation, whole or streamed."""
    service: Service = request.app.state.service
    engine, batcher = service.ready()
    body = await read_json(request, service.limits.max_body)
    chat, caller = parse_chat(body, service.limits), caller_of(request, body)
    if chat.ignored:
        event("fields_ignored", request_id=request.state.request_id, fields=chat.ignored)
    if not chat.stream:
        [answer] = await service.complete(
            request,
            [chat.turns],
            chat.sampling,
            field="messages",
            status=400,
            drop_oldest=chat.drop_oldest,
            caller=caller,
        )
        request.state.usage = usage(answer)
        service.store(request, [(_id(request), chat.turns, answer.text)])
        return JSONResponse(_whole(request, service, answer))
    # The place is taken before the first byte, so that a full queue gives a 429 and not a broken stream.
    request.state.held.enter_context(service.admission.places(1))
    generation = await service.prepare(
        engine, chat.turns, chat.sampling, field="messages", status=400, drop_oldest=chat.drop_oldest, caller=caller
    )
    return StreamingResponse(
        _events(request, service, batcher, generation, chat),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _events(
    request: Request, service: Service, batcher: Batcher, generation: Generation, chat: ChatRequest
) -> AsyncIterator[str]:
    """Server-sent events: the role, the text, the finish reason, the usage if requested, and the end marker."""

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        tail = {"usage": None} if chat.include_usage else {}
        return _sse(_envelope(request, service, "chat.completion.chunk") | {"choices": [choice]} | tail)

    try:
        yield chunk({"role": "assistant", "content": ""})
        async with aclosing(batcher.stream(generation)) as stream:
            async for progress in stream:
                if progress.delta:
                    yield chunk({"content": progress.delta})
                if progress.completion:
                    request.state.usage = usage(progress.completion)
                    service.store(request, [(_id(request), chat.turns, progress.completion.text)])
                    yield chunk({}, progress.completion.finish_reason)
        if chat.include_usage:
            envelope = _envelope(request, service, "chat.completion.chunk")
            yield _sse(envelope | {"choices": [], "usage": request.state.usage})
        yield "data: [DONE]\n\n"
    except Exception:
        # The status line is already sent, so the error can only go into the stream.
        event("stream_failed", level=logging.ERROR, exc_info=True, request_id=request.state.request_id)
        yield _sse(
            Refusal(
                500, "the model failed while generating the answer; send the request again", code="generation_failed"
            ).body()
        )


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _whole(request: Request, service: Service, answer: Completion) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    return _envelope(request, service, "chat.completion") | {"choices": [choice], "usage": usage(answer)}


def _envelope(request: Request, service: Service, kind: str) -> dict[str, Any]:
    return {
        "id": _id(request),
        "object": kind,
        "created": request.state.created,
        "model": service.identity.model_name,
        "system_fingerprint": service.identity.fingerprint(),
    }


def _id(request: Request) -> str:
    return f"chatcmpl-{request.state.request_id}"


def usage(answer: Completion) -> dict[str, Any]:
    """Token counts of prompt and answer, and how many of the oldest turns were left out, if any were."""
    dropped = {"phi_dropped_turns": answer.dropped_turns} if answer.dropped_turns else {}
    return dropped | {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
    }
