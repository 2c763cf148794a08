"""Recognises the shapes that chat data comes in, and makes one conversation of each.

Known: OpenAI `messages` (ultrachat too), ShareGPT `conversations`, Alpaca `instruction`/`input`/`output`, and
`prompt`/`completion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phi_assets.conversations.formats.columns import renamed
from phi_assets.conversations.formats.turns import parse_turns, text_of
from phi_assets.conversations.rows import Message, Rejected

_MEDIA = {"image": "image", "images": "image", "audio": "audio", "audios": "audio", "video": "unsupported_part",
          "videos": "unsupported_part"}  # fmt: skip


def parse_conversation(value: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message]:
    """The messages of a row, as they are: nothing is cut or checked for order yet.

    `columns` maps our names to the data's. Raises Rejected: `unknown_shape` names the keys that were found;
    `tool_call`, `tools`, `image`, `audio`, `unsupported_part`, `unknown_role`, `not_text` say what the row holds.
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
    """Whether a column says something; Parquet writes null and empty lists for rows that have none."""
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
