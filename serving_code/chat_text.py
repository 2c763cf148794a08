"""Reads roles, contents and control tokens: one meaning for data preparation and for requests to the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypedDict, cast

Role = Literal["system", "user", "assistant"]

ROLES: dict[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "bot": "assistant", "ai": "assistant",
}  # fmt: skip
TOOL_ROLES = frozenset({"tool", "tools", "function", "function_call", "tool_call", "function_response", "tool_response",
                        "observation", "ipython", "environment"})  # fmt: skip
BETWEEN_PARTS = "\n"
_TEXT = frozenset({"text", "input_text", "output_text"})
_REASONING = frozenset({"reasoning", "thinking", "thoughts"})


class Turn(TypedDict):
    """One turn: `role` is system, user or assistant."""

    role: str
    content: str


class Part(NamedTuple):
    """A part of a message's content. Reasoning is what a model wrote before its answer, and no part of the answer."""

    kind: Literal["text", "reasoning"]
    text: str


class UnreadableContent(ValueError):
    """Content that is not text. `reason` is image, audio, tool_call, unsupported_part, alternatives or not_text.

    `place` is the position of the part that cannot be read; None for the content as a whole.
    """

    def __init__(self, reason: str, detail: str, place: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.place = place


def canonical(name: str) -> str:
    """The name of a role without its case and the white space around it."""
    return name.strip().casefold()


def role_of(name: object) -> Role | None:
    """The role that a speaker's name means, in any case, such as user for `Human`; None for an unknown name."""
    return ROLES.get(canonical(name)) if isinstance(name, str) else None


def text_of(content: Any) -> str:
    """The text of a message's content; text parts are joined by a newline. Raises UnreadableContent."""
    return join(part.text for part in parts_of(content) if part.kind == "text")


def join(texts: Iterable[str]) -> str:
    return BETWEEN_PARTS.join(texts)


def parts_of(content: Any) -> list[Part]:
    """The parts of a message's content: a string, nothing, a part, or a list of parts. Raises UnreadableContent.

    A list of several plain strings is refused: it may as well hold alternatives, or a column of a table.
    """
    if isinstance(content, str):
        return [Part("text", content)]
    if content is None:
        return []
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise UnreadableContent("not_text", f"content is a {type(content).__name__}, not text")
    if len(content) > 1 and all(isinstance(part, str) for part in content):
        raise UnreadableContent(
            "alternatives", f"content is a list of {len(content)} texts, which may be alternatives; give one text"
        )
    return [_part(part, place) for place, part in enumerate(content)]


def _part(part: Any, place: int) -> Part:
    if isinstance(part, str):
        return Part("text", part)
    if not isinstance(part, dict):
        raise UnreadableContent("not_text", f"a content part is a {type(part).__name__}, not text", place)
    kind = str(part.get("type", "text" if isinstance(part.get("text"), str) else "unknown"))
    text = part.get("text")
    if kind in _REASONING:
        text = text if isinstance(text, str) else part.get(kind)
        return Part("reasoning", text if isinstance(text, str) else "")
    if kind in _TEXT and isinstance(text, str):
        return Part("text", cast(str, text))
    detail = f"content part {kind!r}"
    for reason in ("image", "audio"):
        if reason in kind:
            raise UnreadableContent(reason, detail, place)
    raise UnreadableContent("tool_call" if kind.startswith("tool") else "unsupported_part", detail, place)


def without_failed_turns(turns: list[Turn]) -> list[Turn]:
    """The turns without answers that are empty, and without the questions that got them; the last turn stays.

    A client that stores a failed request as an empty answer would otherwise show the model that it may answer nothing.
    """
    kept: list[Turn] = []
    for place, turn in enumerate(turns):
        failed = turn["role"] == "assistant" and not turn["content"].strip() and place < len(turns) - 1
        if not failed:
            kept.append(turn)
            continue
        while kept and kept[-1]["role"] == "user":
            kept.pop()
    return kept


def control_tokens(tokenizer: Any) -> list[str]:
    """The texts that the tokenizer reads as control tokens, such as `<|end|>`."""
    return list(dict.fromkeys(token for token in _control_tokens(tokenizer) if token))


def _control_tokens(tokenizer: Any) -> Iterator[str]:
    yield from map(str, tokenizer.all_special_tokens)
    # Not all_special_tokens alone: it holds only tokens with a function, such as eos, and omits Phi's <|end|>.
    yield from (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
