"""Lists of turns, as OpenAI, ShareGPT and their relatives write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from phi_assets.conversations.formats.columns import TOOL_ROLES, renamed, roles
from phi_assets.conversations.rows import Message, Rejected, Role

_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


def parse_turns(turns: list[Any], columns: Mapping[str, str]) -> list[Message]:
    """The messages of a list of `role`/`content` or `from`/`value` objects. Raises Rejected."""
    names = roles(columns)
    return [_parse_turn(turn, columns, names) for turn in turns]


def _parse_turn(turn: Any, columns: Mapping[str, str], names: Mapping[str, str]) -> Message:
    if not isinstance(turn, dict):
        raise Rejected("not_text", "broken", f"a turn is a {type(turn).__name__}, not an object")
    turn = renamed(turn, columns)
    speaker = turn["role"] if turn.get("role") is not None else turn.get("from")
    if not isinstance(speaker, str):
        raise Rejected("unknown_role", "broken", f"a turn has no role; its keys: {', '.join(sorted(map(str, turn)))}")
    role = names.get(speaker.strip().casefold())
    calls = turn.get("tool_calls") or turn.get("function_call") or turn.get("tool_call_id")
    if calls or (role is None and speaker.strip().casefold() in TOOL_ROLES):
        raise Rejected("tool_call", "unsupported", f"a turn of {speaker!r} calls a tool or answers for one")
    if role is None:
        raise Rejected("unknown_role", "broken", f"role {speaker!r}; PHI_COLUMNS can map it")
    content = turn["content"] if "content" in turn else turn.get("value")
    return Message(cast(Role, role), text_of(content))


def text_of(content: Any) -> str:
    """The text of a message's content: a string, nothing, or a list of text parts, which are joined by line ends.

    Raises Rejected: `image`, `audio` or `unsupported_part` for other parts, `not_text` for anything else.
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    raise Rejected("not_text", "broken", f"content is a {type(content).__name__}, not text")


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise Rejected("not_text", "broken", f"a content part is a {type(part).__name__}, not text")
    kind = str(part.get("type", "text" if isinstance(part.get("text"), str) else "unknown"))
    if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
        return part["text"]
    if "image" in kind:
        raise Rejected("image", "unsupported", f"content part {kind!r}")
    if "audio" in kind:
        raise Rejected("audio", "unsupported", f"content part {kind!r}")
    if kind.startswith("tool"):
        raise Rejected("tool_call", "unsupported", f"content part {kind!r}")
    raise Rejected("unsupported_part", "unsupported", f"content part {kind!r}")
