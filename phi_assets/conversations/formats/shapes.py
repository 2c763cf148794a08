"""Recognises the formats of chat rows and converts each row to one conversation.

Known formats: OpenAI `messages` (ultrachat too), ShareGPT `conversations`, Alpaca `instruction`/`input`/`output`, and
`prompt`/`completion`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, cast

from phi_assets.conversations.rows import Message, Rejected, Role

_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})

COLUMNS = (
    "messages", "conversations", "role", "content", "from", "value", "system", "user", "assistant",
    "instruction", "input", "output", "history", "prompt", "completion",
)  # fmt: skip
"""The names that PHI_COLUMNS may map; `system`, `user` and `assistant` are both columns and role names."""
ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "bot": "assistant", "ai": "assistant",
}  # fmt: skip
TOOL_ROLES = frozenset({"tool", "tools", "function", "function_call", "tool_call", "function_response", "tool_response",
                        "observation", "ipython", "environment"})  # fmt: skip

_MEDIA = {"image": "image", "images": "image", "audio": "audio", "audios": "audio", "video": "unsupported_part",
          "videos": "unsupported_part"}  # fmt: skip


def parse_conversation(value: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message]:
    """The messages of a row, unchanged: nothing is trimmed, and the order of roles is not checked yet.

    `columns` maps the project's names to those of the data. Raises Rejected: `unknown_shape` names the keys that were
    found; `tool_call`, `tools`, `image`, `audio`, `unsupported_part`, `unknown_role` and `not_text` name the content
    that is not supported.
    """
    row = renamed(value, columns)
    _refuse_extras(row)
    if isinstance(row.get("messages"), list):
        return _with_system(row, parse_turns(row["messages"], columns))
    if isinstance(row.get("conversations"), list):
        return _with_system(row, parse_turns(row["conversations"], columns))
    if "instruction" in row and "output" in row:
        return _with_system(row, _alpaca(row))
    if "prompt" in row and "completion" in row:
        turns = _side(row["prompt"], "user", columns) + _side(row["completion"], "assistant", columns)
        return _with_system(row, turns)
    found = ", ".join(sorted(map(str, value))) or "none"
    raise Rejected("unknown_shape", "broken", f"keys found: {found}; PHI_COLUMNS can map other names")


def _refuse_extras(row: Mapping[str, Any]) -> None:
    for key, reason in _MEDIA.items():
        if _filled(row.get(key)):
            raise Rejected(reason, "unsupported", f"the row has {key}")
    for key in ("tools", "functions"):
        if _filled(row.get(key)) and row[key] != "[]":
            raise Rejected("tools", "unsupported", f"the row declares {key}")


def _filled(value: Any) -> bool:
    """Whether a column has content; Parquet stores null or an empty list for rows without a value."""
    if isinstance(value, list):
        return any(item not in (None, "", {}, []) for item in value)
    return value is not None and value != "" and value != {}


def _with_system(row: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    if not _filled(row.get("system")):
        return messages
    system = text_of(row["system"])
    if not system.strip():
        return messages
    if messages and messages[0].role == "system":
        if messages[0].content.strip() == system.strip():
            return messages
        return [Message("system", f"{system}\n\n{messages[0].content}"), *messages[1:]]
    return [Message("system", system), *messages]


def _alpaca(row: Mapping[str, Any]) -> list[Message]:
    messages = []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise Rejected("not_text", "broken", "history is not a list of [question, answer]")
    for pair in history:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Rejected("not_text", "broken", "history holds something other than [question, answer]")
        messages += [Message("user", text_of(pair[0])), Message("assistant", text_of(pair[1]))]
    extra = text_of(row["input"]) if _filled(row.get("input")) else ""
    instruction = text_of(row["instruction"])
    question = f"{instruction}\n\n{extra}" if instruction.strip() and extra.strip() else instruction or extra
    return [*messages, Message("user", question), Message("assistant", text_of(row["output"]))]


def _side(value: Any, role: str, columns: Mapping[str, str]) -> list[Message]:
    if isinstance(value, list) and all(isinstance(item, dict) and "type" not in item for item in value):
        return parse_turns(value, columns)
    return [Message("user" if role == "user" else "assistant", text_of(value))]


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise ValueError for a mapping from an unknown name, or to an empty one; the error suggests the nearest name."""
    for ours, theirs in columns.items():
        if ours not in COLUMNS:
            near = difflib.get_close_matches(ours, COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(COLUMNS)}"
            raise ValueError(
                f"PHI_COLUMNS maps the unknown name {ours!r}; {hint} (it maps the project's names to those of the data)"
            )
        if not isinstance(theirs, str) or not theirs:
            raise ValueError(f"PHI_COLUMNS maps {ours!r} to {theirs!r}; give the name that the data uses")


def renamed(value: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The object with the data's names replaced by the project's, at the top level only."""
    result = dict(value)
    for ours, theirs in columns.items():
        if theirs != ours and theirs in value:
            if result.get(theirs) is value[theirs]:
                del result[theirs]
            result[ours] = value[theirs]
    return result


def roles(columns: Mapping[str, str]) -> dict[str, str]:
    """Every role name of the data, in lower case, with its role."""
    own = {columns[role].casefold(): role for role in ("system", "user", "assistant") if role in columns}
    return {**ROLES, **own}


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
    """The text of a message's content: a string, nothing, or a list of text parts, which are joined by newlines.

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
