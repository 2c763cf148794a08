"""Parses the body of a chat completion: supported, refused and ignored fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving_code.chat_text import TOOL_ROLES, UnreadableContent, canonical, role_of, text_of, without_failed_turns
from serving_code.engine import Sampling
from serving_code.errors import Refusal
from serving_code.limits import Limits
from serving_code.prompts import Message

NAMES = "system, developer, user and assistant"


class StreamOptions(BaseModel):
    """Whether the last chunk of a stream holds the usage."""

    include_usage: bool | None = False


class ChatBody(BaseModel):
    """The fields that change the answer. Other fields, which clients often send, are collected and logged."""

    model_config = ConfigDict(extra="allow")

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = 1
    truncation: Literal["auto", "disabled"] | None = None


@dataclass(frozen=True)
class ChatRequest:
    """A parsed chat completion request. `drop_oldest`: turns that do not fit are left out, instead of a refusal.

    `ignored` names the fields that were not used.
    """

    turns: list[Message]
    sampling: Sampling
    stream: bool
    include_usage: bool
    drop_oldest: bool
    ignored: list[str]


def parse_chat(body: dict[str, Any], limits: Limits) -> ChatRequest:
    """The request, or a Refusal (400) that names the field and what to do."""
    _refuse_unsupported(body)
    try:
        chat = ChatBody.model_validate(body)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise Refusal(400, f"{name}: {first['msg']}; correct it", code="invalid_value", param=name) from e
    if chat.n not in (None, 1):
        raise Refusal(
            400, f"n is {chat.n}; only one choice per request is supported: send n=1", code="unsupported", param="n"
        )
    return ChatRequest(
        turns=without_failed_turns([_turn(turn, f"messages[{at}]") for at, turn in enumerate(chat.messages)]),
        sampling=_sampling(chat, limits),
        stream=bool(chat.stream),
        include_usage=bool(chat.stream_options and chat.stream_options.include_usage),
        drop_oldest=chat.truncation == "auto",
        ignored=sorted(chat.model_extra or {}),
    )


def _sampling(chat: ChatBody, limits: Limits) -> Sampling:
    stop = chat.stop or ()
    tokens = chat.max_completion_tokens or chat.max_tokens or limits.default_max_new_tokens
    temperature = limits.default_temperature if chat.temperature is None else chat.temperature
    try:
        return Sampling(
            max_new_tokens=tokens,
            temperature=temperature,
            top_p=1.0 if chat.top_p is None else chat.top_p,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            seed=chat.seed,
        )
    except ValueError as e:
        raise Refusal(400, str(e), code="invalid_value") from e


def _refuse_unsupported(body: dict[str, Any]) -> None:
    """Refuse unsupported fields that would change the answer, instead of ignoring them."""
    for name in ("tools", "functions"):
        if body.get(name):
            raise _unsupported(name, f"this model calls no tools; leave {name} out")
    for name in ("logprobs", "top_logprobs", "audio"):
        if body.get(name):
            raise _unsupported(name, f"{name} is not supported; leave it out")
    if any(kind != "text" for kind in _listed(body.get("modalities"))):
        raise _unsupported("modalities", 'only text is supported; send modalities ["text"] or leave it out')
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type", "text") != "text":
        raise _unsupported(
            "response_format", "only free text is supported; ask for JSON in the messages and validate it"
        )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _unsupported(param: str, message: str) -> Refusal:
    return Refusal(400, message, code="unsupported", param=param)


def _turn(turn: dict[str, Any], where: str) -> Message:
    role = turn.get("role")
    known = role_of(role)
    tool = known is None and isinstance(role, str) and canonical(role) in TOOL_ROLES
    if tool or turn.get("tool_calls") or turn.get("function_call"):
        raise _unsupported(f"{where}.role", f"{where} is about a tool call, and this model calls none; leave it out")
    if known is None:
        raise Refusal(400, f"{where}.role is {role!r}; valid are {NAMES}", code="invalid_value", param=f"{where}.role")
    return Message(role=known, content=_text(turn.get("content"), known, f"{where}.content"))


def _text(content: Any, role: str, where: str) -> str:
    if not isinstance(content, (str, list)) and not (content is None and role == "assistant"):
        raise Refusal(
            400, f"{where} is neither a string nor text parts; send a string", code="invalid_value", param=where
        )
    try:
        return text_of(content)
    except UnreadableContent as e:
        part = where if e.place is None else f"{where}[{e.place}]"
        raise _unsupported(part, f"{part}: {e}; this model reads text parts only") from e
