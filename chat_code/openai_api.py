"""The chat for other programs: OpenAI's chat completions, with the chat's system prompt, filter and limits.

Nothing is kept, unless the program asks for it: `"store": true` and `"metadata": {"conversation": id}` append the
question and its answer to that conversation.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chat_code.api import STREAM_HEADERS
from chat_code.conversations import Served, Usage
from chat_code.endpoint import Delta, Finished, Sampling, Started
from chat_code.errors import Refused
from chat_code.models import TUNED
from chat_code.requests import chat_of, identifier, json_body, who_of
from chat_code.service import Chat, Question
from chat_code.turn import Cut, events, messages_of

MAX_BODY = 1_000_000
REFUSED_FIELDS = ("tools", "functions", "logprobs", "response_format", "audio")
"""Fields that would change the answer. Others, which clients often send, are not used."""


async def models(request: Request) -> JSONResponse:
    """The models that can be asked."""
    who_of(request).by_key(request)
    chat = chat_of(request)
    return JSONResponse({"object": "list", "data": [_model(model) for model in chat.endpoints]})


async def model(request: Request) -> JSONResponse:
    """One of the models."""
    who_of(request).by_key(request)
    wanted = request.path_params["model"]
    if wanted not in chat_of(request).endpoints:
        raise Refused("not_found", f"there is no model {wanted!r}; GET /v1/models lists them")
    return JSONResponse(_model(wanted))


async def chat_completions(request: Request) -> Response:
    """One answer, whole or streamed."""
    person, chat = who_of(request).by_key(request), chat_of(request)
    body = await json_body(request, MAX_BODY)
    for name in REFUSED_FIELDS:
        if body.get(name) and not (name == "response_format" and body[name] == {"type": "text"}):
            raise Refused("invalid", f"{name} is not supported; leave it out")
    name = str(body.get("model") or TUNED)
    if name not in chat.endpoints and name == chat.facts.model(TUNED)["name"]:
        name = TUNED
    if name not in chat.endpoints:
        raise Refused("not_found", f"there is no model {name!r}; valid are {', '.join(chat.endpoints)}")
    _, question = _split(body.get("messages"))
    stored = body.get("store") is True
    answer = _kept(chat, person.user, name, body, question) if stored else _answered(chat, person.user, name, body)
    if body.get("stream") is True:
        include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        lines = _chunks(answer, name, include_usage=include_usage)
        return StreamingResponse(lines, media_type="text/event-stream", headers=STREAM_HEADERS)
    return await _whole(answer, name)


Piece = str | tuple[Served, Usage, str]


async def _answered(chat: Chat, user: str, name: str, body: Mapping[str, Any]) -> AsyncGenerator[Piece, None]:
    """Yield the pieces of an answer that is not kept, and its end. Raises Refused."""
    history, question = _split(body.get("messages"))
    asked = Sampling(
        max_tokens=_number(body, ("max_completion_tokens", "max_tokens"), 1, chat.settings.sampling.max_tokens),
        temperature=_number(body, ("temperature",), 0.0, chat.settings.sampling.temperature),
    )
    settings = replace(chat.settings, sampling=asked)
    with chat.admission.one_answer(user):
        await chat.admission.require_budget(chat.history, user)
        async with (
            chat.admission.queue,
            aclosing(events(question, history, chat.endpoint(name, user), settings, chat.client(name))) as turn,
        ):
            async for event in turn:
                if isinstance(event, Delta):
                    yield event.text
                elif isinstance(event, Cut):
                    raise _refused(event.code, event.why)
                elif isinstance(event, Finished):
                    await chat.admission.count_tokens(
                        chat.history, user, event.usage.prompt_tokens + event.usage.completion_tokens
                    )
                    yield event.served, event.usage, event.reason
                else:
                    assert isinstance(event, Started)


async def _kept(
    chat: Chat, user: str, name: str, body: Mapping[str, Any], question: str
) -> AsyncGenerator[Piece, None]:
    """Yield the pieces of an answer that a conversation keeps, whose own turns are its history. Raises Refused."""
    conversation = identifier((body.get("metadata") or {}).get("conversation"), "metadata.conversation")
    try:
        parent = (await chat.history.read(user, conversation))[0].head
    except Refused as e:
        if e.code != "not_found":
            raise
        parent = None
    asked = Question(user, conversation, uuid.uuid4().hex, parent, question, uuid.uuid4().hex, name)
    async with aclosing(await chat.ask(asked)) as told:
        async for event in told:
            if event is None:
                continue
            _, kind, data = event
            if kind == "delta":
                yield data["text"]
            elif kind == "cut":
                raise _refused(data["code"], data["why"])
            elif kind == "done":
                message = data["message"]
                yield Served(**message["served"]), Usage(**message["usage"]), "stop"


def _refused(code: str, why: str) -> Refused:
    if code in ("refused_by_filter", "filter_unavailable", "history_unavailable"):
        return Refused(code, why)
    return Refused("endpoint_unavailable", why)


async def _whole(answer: AsyncGenerator[Piece, None], name: str) -> JSONResponse:
    text = ""
    # Closed here, so that the person's place is free before the answer is sent.
    async with aclosing(answer):
        async for piece in answer:
            if isinstance(piece, str):
                text += piece
            else:
                served, usage, reason = piece
                choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
                return JSONResponse(
                    _envelope(name, served, "chat.completion") | {"choices": [choice], "usage": _usage(usage)}
                )
    raise Refused("failed", "the answer has no end")


async def _chunks(answer: AsyncGenerator[Piece, None], name: str, *, include_usage: bool) -> AsyncGenerator[str, None]:
    served = Served(answer_id=f"chatcmpl-{uuid.uuid4().hex}")

    def chunk(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _sse(_envelope(name, served, "chat.completion.chunk") | {"choices": [choice]})

    try:
        yield chunk({"role": "assistant", "content": ""})
        async for piece in answer:
            if isinstance(piece, str):
                yield chunk({"content": piece})
            else:
                served, usage, reason = replace(piece[0], answer_id=served.answer_id), piece[1], piece[2]
                yield chunk({}, reason)
                if include_usage:
                    envelope = _envelope(name, served, "chat.completion.chunk")
                    yield _sse(envelope | {"choices": [], "usage": _usage(usage)})
        yield "data: [DONE]\n\n"
    except Refused as e:
        yield _sse(e.body())


def _split(messages: Any) -> tuple[list[Any], str]:
    """Return the turns before the last message, and its text. Raises Refused."""
    if not isinstance(messages, list) or not messages:
        raise Refused("invalid", "messages must be a list with at least one message")
    try:
        turns = messages_of(messages)
    except ValueError as e:
        raise Refused("invalid", str(e).replace("chat_history", "messages")) from e
    last = turns[-1] if turns else None
    if last is None or last["role"] != "user":
        raise Refused("invalid", "the last message must be of the user")
    content = last["content"]
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(parts) != len(content) or not all(isinstance(part, str) for part in parts):
            raise Refused("invalid", "only text is read; leave out images, audio and files")
        content = "\n".join(str(part) for part in parts)
    if not content.strip():
        raise Refused("invalid", "the question is empty")
    return turns[:-1], content


def _number(body: Mapping[str, Any], names: tuple[str, ...], least: float, default: Any) -> Any:
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
            raise Refused("invalid", f"{name} is {value!r}; it must be a number from {least} on")
        return value if isinstance(default, float) else int(value)
    return default


def _model(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": int(time.time()), "owned_by": "phi-assets"}


def _envelope(name: str, served: Served, kind: str) -> dict[str, Any]:
    return {
        "id": served.answer_id,
        "object": kind,
        "created": int(time.time()),
        "model": name,
        "system_fingerprint": f"{served.deployment}/{served.model}:{served.model_version}",
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def routes() -> list[Route]:
    """Return the routes."""
    return [
        Route("/v1/models", models),
        Route("/v1/models/{model}", model),
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    ]
