"""One turn of a chat: a question, with the turns before it, becomes the events of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import httpx

from chat_code.content_filter import ContentFilter, FilterUnavailable, NoFilter
from chat_code.conversations import Served, Usage
from chat_code.endpoint import Delta, Endpoint, Finished, Sampling, Started, new_client, stream
from chat_code.endpoint_errors import EndpointCut, EndpointRefused, EndpointUnreachable

CHECKED_PIECE = 300
"""Characters of an answer that a content filter examines before they are shown."""
CutCode = Literal["cut", "unreachable", "busy", "refused", "refused_by_filter", "filter_unavailable", "failed"]


class Turn(TypedDict):
    """One turn of a conversation. The endpoint reads roles in any case, and contents that are texts or text parts."""

    role: str
    content: Any


@dataclass(frozen=True)
class TurnSettings:
    """What every turn has: a system prompt ("" for none), how to sample, and what may not be said."""

    system_prompt: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    content_filter: ContentFilter = field(default_factory=NoFilter)


@dataclass(frozen=True)
class Cut:
    """The answer ends before its end. `why` is a sentence for a person; `retry`: asking again may help."""

    code: CutCode
    why: str
    retry: bool


@dataclass(frozen=True)
class Answer:
    """A whole answer and its origin."""

    text: str
    served: Served
    usage: Usage
    seconds: float


Event = Started | Delta | Finished | Cut


async def events(
    question: str,
    history: Sequence[Mapping[str, Any]],
    endpoint: Endpoint,
    settings: TurnSettings,
    client: httpx.AsyncClient,
) -> AsyncGenerator[Event, None]:
    """Yield Started, the pieces of the answer, and Finished; or Cut, which is the last event of a turn that failed."""
    messages = [*_system(settings), *history, {"role": "user", "content": question}]
    try:
        refused = await settings.content_filter.refuses(question)
        if refused:
            yield Cut("refused_by_filter", f"the question is not passed on: {refused}", retry=False)
            return
        async with aclosing(stream(endpoint, messages, settings.sampling, client)) as pieces:
            async for event in _filtered(pieces, settings.content_filter):
                yield event
    except FilterUnavailable as e:
        yield Cut("filter_unavailable", str(e), retry=True)
    except EndpointUnreachable as e:
        yield Cut("unreachable", str(e), retry=True)
    except EndpointRefused as e:
        yield Cut("refused", str(e), retry=True)
    except EndpointCut as e:
        yield Cut("cut", str(e), retry=True)


async def _filtered(
    pieces: AsyncGenerator[Started | Delta | Finished, None], content_filter: ContentFilter
) -> AsyncGenerator[Event, None]:
    """Yield the events; with a filter, text only after the filter has let all of the answer so far pass."""
    if isinstance(content_filter, NoFilter):
        async for piece in pieces:
            yield piece
        return
    shown, held = "", ""
    async for piece in pieces:
        if isinstance(piece, Delta):
            held += piece.text
        if held and (len(held) >= CHECKED_PIECE or isinstance(piece, Finished)):
            refused = await content_filter.refuses(shown + held)
            if refused:
                yield Cut("refused_by_filter", f"the rest of the answer is not shown: {refused}", retry=False)
                return
            yield Delta(held)
            shown, held = shown + held, ""
        if not isinstance(piece, Delta):
            yield piece


def _system(settings: TurnSettings) -> list[Turn]:
    return [{"role": "system", "content": settings.system_prompt}] if settings.system_prompt else []


def answer(question: str, history: Iterable[Mapping[str, Any]], endpoint: Endpoint, settings: TurnSettings) -> Answer:
    """Return the whole answer; for callers that do not stream, such as a flow's tool.

    Args:
        question: what the user asks now.
        history: earlier turns, oldest first; either messages or Prompt flow's chat history (see `messages_of`).

    Raises:
        ValueError: the question or the history is not usable; the message names the entry.
        EndpointUnreachable: nothing answered in time at the address.
        EndpointRefused: the endpoint answered with an error, or a content filter does not let the answer pass.
        EndpointCut: the answer broke off.
    """
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"the question is empty or not text: {question!r}; send a non-empty string as 'question'")
    return asyncio.run(_answer(question, messages_of(history), endpoint, settings))


async def _answer(question: str, history: Sequence[Turn], endpoint: Endpoint, settings: TurnSettings) -> Answer:
    raised = {"unreachable": EndpointUnreachable, "cut": EndpointCut}
    text = ""
    async with (
        new_client(endpoint.url) as client,
        aclosing(events(question, history, endpoint, settings, client)) as turn,
    ):
        async for event in turn:
            if isinstance(event, Delta):
                text += event.text
            elif isinstance(event, Cut):
                raise raised.get(event.code, EndpointRefused)(event.why)
            elif isinstance(event, Finished):
                return Answer(text, event.served, event.usage, event.seconds)
    raise EndpointCut("the answer has no end")


def messages_of(history: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """Return a chat history as messages, oldest first, without the turns that failed.

    An entry is a message (`{"role": ..., "content": ...}`) or a turn in Prompt flow's format
    (`{"inputs": {"question": ...}, "outputs": {"answer": ...}}`). A turn failed when it has a question and no answer,
    or an empty one: it is left out, and so is an empty answer with the questions before it.

    Raises:
        ValueError: an entry is neither; the message gives its position.
    """
    messages: list[Turn] = []
    for position, entry in enumerate(history):
        if not isinstance(entry, Mapping):
            raise ValueError(f"chat_history[{position}] is {type(entry).__name__}, not an object; {_SHAPES}")
        if "role" in entry:
            pairs = [(entry["role"], entry.get("content"))]
        else:
            pairs = [("user", _part(entry, "inputs", "question")), ("assistant", _part(entry, "outputs", "answer"))]
        for role, content in pairs:
            if role == "assistant" and (content is None or content == ""):
                while messages and messages[-1]["role"] == "user":
                    messages.pop()
            elif isinstance(role, str) and isinstance(content, (str, list)):
                messages.append({"role": role, "content": content})
            else:
                raise ValueError(f"chat_history[{position}] is not a turn of a chat; {_SHAPES}")
    return messages


_SHAPES = (
    'each entry is {"inputs": {"question": "..."}, "outputs": {"answer": "..."}}'
    ' or {"role": "system|user|assistant", "content": "..."}'
)


def _part(entry: Mapping[str, Any], side: str, name: str) -> Any:
    values = entry.get(side)
    return values.get(name) if isinstance(values, Mapping) else None
