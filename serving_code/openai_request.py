"""Parses the body of a chat completion: supported, refused and ignored fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from serving_code.chat_text import TOOL_ROLES, UnreadableContent, canonical, role_of, text_of, without_failed_turns
from serving_code.engine import Sampling
from serving_code.errors import Refusal
from serving_code.limits import Limits
from serving_code.openai_fields import AnswerFields, ResponseFormat, choices_of, read, unsupported
from serving_code.prompts import Message
from serving_code.sampling import MAX_LOGPROBS
from serving_code.service import Identity

NAMES = "system, developer, user and assistant"


class ChatBody(AnswerFields):
    """The fields of a chat completion."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    response_format: ResponseFormat | None = None
    truncation: Literal["auto", "disabled"] | None = None


@dataclass(frozen=True)
class ChatRequest:
    """A parsed chat completion request, with the sampling of each choice.

    `drop_oldest`: turns that do not fit are left out, instead of a refusal. `ignored` names the fields that
    were not used.
    """

    turns: list[Message]
    choices: list[Sampling]
    stream: bool
    include_usage: bool
    drop_oldest: bool
    ignored: list[str]


def parse_chat(body: dict[str, Any], limits: Limits, identity: Identity) -> ChatRequest:
    """The request, or a Refusal (400 or 404) that names the field and what to do."""
    _refuse_unsupported(body)
    chat = read(ChatBody, body, identity)
    if chat.top_logprobs is not None and not chat.logprobs:
        raise Refusal(400, "top_logprobs needs logprobs; send logprobs true", code="invalid_value", param="logprobs")
    sampling = chat.sampling(
        limits,
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
        json_schema=chat.response_format.schema_text() if chat.response_format else None,
    )
    return ChatRequest(
        turns=without_failed_turns([_turn(turn, f"messages[{at}]") for at, turn in enumerate(chat.messages)]),
        choices=choices_of(sampling, chat.n),
        stream=bool(chat.stream),
        include_usage=bool(chat.stream_options and chat.stream_options.include_usage),
        drop_oldest=chat.truncation == "auto",
        ignored=sorted(chat.model_extra or {}),
    )


def _refuse_unsupported(body: dict[str, Any]) -> None:
    """Refuse unsupported fields that would change the answer, instead of ignoring them."""
    for name in ("tools", "functions"):
        if body.get(name):
            raise unsupported(name, f"this model calls no tools; leave {name} out")
    if body.get("audio"):
        raise unsupported("audio", "audio is not supported; leave it out")
    if any(kind != "text" for kind in _listed(body.get("modalities"))):
        raise unsupported("modalities", 'only text is supported; send modalities ["text"] or leave it out')


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _turn(turn: dict[str, Any], where: str) -> Message:
    role = turn.get("role")
    known = role_of(role)
    tool = known is None and isinstance(role, str) and canonical(role) in TOOL_ROLES
    if tool or turn.get("tool_calls") or turn.get("function_call"):
        raise unsupported(f"{where}.role", f"{where} is about a tool call, and this model calls none; leave it out")
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
        raise unsupported(part, f"{part}: {e}; this model reads text parts only") from e
