"""Reads the turns of a conversation: role, text, loss marks, and the fields that PHI_KEEP_FIELDS keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from phi_assets.conversations.formats.loss_marks import learned
from phi_assets.conversations.formats.unknown_shape import how_to_read_turns
from phi_assets.conversations.rows import ContextOnly, Message, Rejected, Role
from serving_code.chat_text import ROLES, TOOL_ROLES, UnreadableContent, canonical, join, parts_of

KEEPABLE = ("reasoning", "name", "tool_calls")
"""What PHI_KEEP_FIELDS may name; without it, reasoning and names are left out, and rows with tool calls are dropped."""
_REASONING = ("reasoning_content", "reasoning", "thinking")
_PLAIN = {"role", "content"}
_CALLS = ("tool_calls", "function_call")


@dataclass
class Reader:
    """Reads turns with the data's own names, and collects the keys that it leaves out in `unused`."""

    columns: Mapping[str, str]
    keep: frozenset[str] = frozenset()
    unused: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.columns:
            self._roles = ROLES
            return
        own = {canonical(self.columns[role]): role for role in ("system", "user", "assistant") if role in self.columns}
        self._roles = {**ROLES, **own}

    def turns(self, turns: list[Any], where: str) -> list[Message]:
        """The messages of a list of `role`/`content` or `from`/`value` objects of column `where`. Raises Rejected."""
        return self.plain(turns) or [self._turn(turn, where) for turn in turns]

    def plain(self, turns: Any) -> list[Message] | None:
        """The messages of a list of turns that have a known role, a text and nothing else; None for any other."""
        if self.columns or not isinstance(turns, list):
            return None
        messages = []
        for turn in turns:
            if not isinstance(turn, dict) or turn.keys() != _PLAIN:
                return None
            role, content = turn["role"], turn["content"]
            if not isinstance(role, str) or not isinstance(content, str) or role not in self._roles:
                return None
            messages.append(Message(cast(Role, self._roles[role]), content))
        return messages

    def text(self, content: Any) -> str:
        """The text of a content, without its reasoning. Raises Rejected."""
        return self._texts(content)[0]

    def _texts(self, content: Any) -> tuple[str, str]:
        """The text of a content, and its reasoning."""
        try:
            parts = parts_of(content)
        except UnreadableContent as e:
            raise Rejected(e.reason, "broken" if e.reason == "not_text" else "unsupported", str(e)) from e
        text = join(part.text for part in parts if part.kind == "text")
        return text, join(part.text for part in parts if part.kind == "reasoning")

    def _turn(self, turn: Any, where: str) -> Message:
        if not isinstance(turn, dict):
            raise Rejected("not_text", "broken", f"a turn is a {type(turn).__name__}, not an object")
        turn = renamed(turn, self.columns)
        speaker = turn["role"] if turn.get("role") is not None else turn.get("from")
        if not isinstance(speaker, str):
            raise Rejected("unknown_role", "broken", f"a turn has no role; {how_to_read_turns(where, turn)}")
        role = self._roles.get(canonical(speaker))
        calls = [turn[key] for key in _CALLS if turn.get(key)]
        if calls or turn.get("tool_call_id") or (role is None and canonical(speaker) in TOOL_ROLES):
            if "tool_calls" not in self.keep:
                raise Rejected("tool_call", "unsupported", f"a turn of {speaker!r} calls a tool or answers for one")
            return self._tool_turn(turn, canonical(speaker), calls, where)
        if role is None:
            raise Rejected("unknown_role", "broken", f"role {speaker!r:.80}; PHI_COLUMNS can map it")
        text, reasoning = self._texts(turn["content"] if "content" in turn else turn.get("value"))
        return self._message(turn, cast(Role, role), text, reasoning, where)

    def _message(self, turn: Mapping[str, Any], role: Role, text: str, thought: str, where: str) -> Message:
        keys = {key for key in turn if filled(turn[key])} - {"role", "from", "content", "value", *_CALLS}
        reasoning = next((key for key in _REASONING if isinstance(turn.get(key), str) and turn[key].strip()), None)
        thought = thought or (turn[reasoning] if reasoning else "")
        if thought and not reasoning:
            keys.add("content[reasoning]")
        if thought and "reasoning" in self.keep and role == "assistant":
            text = f"<think>\n{thought}\n</think>\n\n{text}"
            keys -= {reasoning, "content[reasoning]"}
        if "name" in self.keep and role == "user" and isinstance(turn.get("name"), str) and turn["name"].strip():
            text = f"{turn['name']}: {text}"
            keys.discard("name")
        learn, marks = learned(turn) if role == "assistant" else (True, set[str]())
        self.unused |= {f"{where}[].{key}" for key in keys - marks}
        return Message(role, text) if learn else ContextOnly(role, text)

    def _tool_turn(self, turn: Mapping[str, Any], speaker: str, calls: list[Any], where: str) -> Message:
        """A call as a turn of the assistant, a result as a turn of the user, in the plain form of Hermes models."""
        content = turn["content"] if "content" in turn else turn.get("value")
        text, reasoning = self._texts(content if content is not None else "")
        if calls:
            written = [
                _tagged("tool_call", each) for call in calls for each in (call if isinstance(call, list) else [call])
            ]
            return self._message(turn, "assistant", "\n".join(([text] if text else []) + written), reasoning, where)
        if speaker in ("function_call", "tool_call"):
            return self._message(turn, "assistant", _tagged("tool_call", text), reasoning, where)
        return self._message(turn, "user", _tagged("tool_response", text), reasoning, where)


def _tagged(name: str, value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    return f"<{name}>\n{value if isinstance(value, str) else orjson.dumps(value, default=str).decode()}\n</{name}>"


def tools_text(tools: Any) -> str:
    """The declared tools as text for a system message."""
    return f"You may call these tools:\n{_tagged('tools', tools)}"


def filled(value: Any) -> bool:
    """Whether a field has content; Parquet stores null or an empty list for rows without a value."""
    if isinstance(value, list):
        return any(item not in (None, "", {}, []) for item in value)
    return value is not None and value != "" and value != {}


def renamed(value: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The object with the data's names replaced by the project's, at the top level only."""
    result = dict(value)
    for ours, theirs in columns.items():
        if theirs != ours and theirs in value:
            if result.get(theirs) is value[theirs]:
                del result[theirs]
            result[ours] = value[theirs]
    return result
