"""Recognises the formats of chat rows and converts each row to one conversation.

Known formats: OpenAI `messages` (ultrachat too), ShareGPT `conversations`, Alpaca `instruction`/`input`/`output`,
`prompt`/`completion`, ChatGPT exports, and preferences: `chosen`/`rejected` (DPO), `label` (KTO), lists of answers.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phi_assets.conversations.formats.chatgpt_export import is_export, turns_of
from phi_assets.conversations.formats.json_text import from_json_text
from phi_assets.conversations.formats.loss_marks import by_turn, learned
from phi_assets.conversations.formats.preferences import Preference, is_ranked, pair, pair_names, ranked
from phi_assets.conversations.formats.turns import Reader, filled, renamed, tools_text
from phi_assets.conversations.formats.unknown_shape import described
from phi_assets.conversations.rows import Message, Rejected

COLUMNS = (
    "messages", "conversations", "role", "content", "from", "value", "system", "user", "assistant",
    "instruction", "input", "output", "history", "prompt", "completion", "chosen", "rejected",
)  # fmt: skip
"""The names that PHI_COLUMNS may map; `system`, `user` and `assistant` are both columns and role names."""
_MEDIA = {"image": "image", "images": "image", "audio": "audio", "audios": "audio", "video": "unsupported_part",
          "videos": "unsupported_part"}  # fmt: skip
_TOOLS = ("tools", "functions")
_EXTRAS = frozenset({*_MEDIA, *_TOOLS})
_TURNS = ("messages", "conversations")
_ONLY_MESSAGES = {"messages"}
_EXPORT = {"mapping", "current_node"}


@dataclass(frozen=True)
class Parsed:
    """A row as one conversation, unchanged: nothing is trimmed, and the order of roles is not checked yet.

    `unused` names the filled keys that were left out. With `preferences` the messages end with the better answer.
    """

    messages: list[Message]
    unused: frozenset[str] = frozenset()
    preferences: tuple[Preference, ...] = ()


def parse_conversation(
    value: Mapping[str, Any], columns: Mapping[str, str], keep: frozenset[str] = frozenset()
) -> Parsed:
    """The conversation of a row. `columns` maps the project's names to those of the data; `keep`: PHI_KEEP_FIELDS.

    Raises Rejected: `unknown_shape` names the keys that were found; `tool_call`, `tools`, `image`, `audio`,
    `unsupported_part`, `alternatives`, `loss_mark`, `unknown_role`, `json_text` and `not_text` name the content that is
    not supported, `not_to_learn` a row that its own mark excludes.
    """
    reader = Reader(columns, keep)
    if value.keys() == _ONLY_MESSAGES and (plain := reader.plain(value["messages"])):  # most rows, quickly
        return Parsed(plain)
    row = from_json_text(renamed(value, columns))
    used = _refuse_extras(row, keep)
    parsed, read = _parsed(row, value, reader)
    messages, marks = by_turn(row, parsed.messages)
    used |= read | marks | _refuse_unlearned(row, marks)
    messages = _with_system(row, messages, reader, keep)
    unused = {str(key) for key in row if filled(row[key])} - used - {"system"}
    preferences = tuple(
        each._replace(prompt=_with_system(row, each.prompt, reader, keep)) for each in parsed.preferences
    )
    return Parsed(messages, frozenset(reader.unused | unused), preferences)


def _parsed(row: Mapping[str, Any], value: Mapping[str, Any], reader: Reader) -> tuple[Parsed, set[str]]:
    """The row by its shape, and the names of the columns that make it."""
    if is_export(row):
        return Parsed(reader.turns(turns_of(row), "mapping")), _EXPORT
    if names := pair_names(row):
        prompt, read = _prompt(row, reader)
        preference = pair(row, names, prompt, reader)
        return Parsed([*preference.prompt, *preference.chosen], preferences=(preference,)), {*names, *read}
    for name in _TURNS:
        if isinstance(row.get(name), list):
            return Parsed(reader.turns(row[name], name)), {name}
    if "instruction" in row and "output" in row:
        return _answered(_alpaca_prompt(row, reader), row, "output", reader, {"instruction", "input", "history"})
    if "prompt" in row and "completion" in row:
        return _answered(_side(row["prompt"], "user", reader), row, "completion", reader, {"prompt"})
    raise Rejected("unknown_shape", "broken", described(value))


def _answered(
    prompt: list[Message], row: Mapping[str, Any], name: str, reader: Reader, read: set[str]
) -> tuple[Parsed, set[str]]:
    """A prompt with its answer, or with the best of the answers that the column `name` lists."""
    answer = row[name]
    if not is_ranked(answer):
        return Parsed([*prompt, *_side(answer, "assistant", reader)]), {*read, name}
    preferences, ranks = ranked(prompt, answer, row)
    if not preferences:
        return Parsed([*prompt, Message("assistant", answer[0])]), {*read, name, *ranks}
    return Parsed([*prompt, *preferences[0].chosen], preferences=tuple(preferences)), {*read, name, *ranks}


def _prompt(row: Mapping[str, Any], reader: Reader) -> tuple[list[Message], set[str]]:
    """The prompt of a preference pair, and the names of the columns that hold it; empty when the answers repeat it."""
    for name in _TURNS:
        if isinstance(row.get(name), list):
            return reader.turns(row[name], name), {name}
    if isinstance(row.get("input"), dict) and isinstance(row["input"].get("messages"), list):  # OpenAI
        reader.unused |= {f"input.{key}" for key, item in row["input"].items() if filled(item)} - {"input.messages"}
        return reader.turns(row["input"]["messages"], "input.messages"), {"input"}
    if "instruction" in row:
        return _alpaca_prompt(row, reader), {"instruction", "input", "history"}
    name = next((name for name in ("prompt", "question", "query", "input") if filled(row.get(name))), None)
    if name is None:
        return [], set()
    return _side(row[name], "user", reader), {name}


def _refuse_extras(row: Mapping[str, Any], keep: frozenset[str]) -> set[str]:
    if row.keys().isdisjoint(_EXTRAS):
        return set()
    for key, reason in _MEDIA.items():
        if filled(row.get(key)):
            raise Rejected(reason, "unsupported", f"the row has {key}")
    for key in _TOOLS:
        if filled(row.get(key)) and row[key] != "[]" and "tool_calls" not in keep:
            raise Rejected("tools", "unsupported", f"the row declares {key}; PHI_KEEP_FIELDS=tool_calls keeps them")
    return {*_TOOLS}


def _refuse_unlearned(row: Mapping[str, Any], lists: set[str]) -> set[str]:
    """The names of the row's own marks. Raises Rejected for a row that is not to be learned."""
    own = {key: item for key, item in row.items() if key not in lists}
    if "completion" in own and own.get("label") in (0, 1):  # KTO
        own["label"] = bool(own["label"])
    learn, marks = learned(own)
    if not learn:
        said = ", ".join(f"{key} is {own[key]!r:.40}" for key in sorted(marks))
        raise Rejected("not_to_learn", "policy", f"the row is marked as not to be learned: {said}")
    return marks


def _with_system(
    row: Mapping[str, Any], messages: list[Message], reader: Reader, keep: frozenset[str]
) -> list[Message]:
    system = reader.text(row["system"]) if filled(row.get("system")) else ""
    for key in _TOOLS:
        if "tool_calls" in keep and filled(row.get(key)) and row[key] != "[]":
            system = "\n\n".join(text for text in (system, tools_text(row[key])) if text)
    if not system.strip():
        return messages
    if messages and messages[0].role == "system":
        if messages[0].content.strip() == system.strip():
            return messages
        return [Message("system", f"{system}\n\n{messages[0].content}"), *messages[1:]]
    return [Message("system", system), *messages]


def _alpaca_prompt(row: Mapping[str, Any], reader: Reader) -> list[Message]:
    messages = []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise Rejected("not_text", "broken", "history is not a list of [question, answer]")
    for exchange in history:
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise Rejected("not_text", "broken", "history holds something other than [question, answer]")
        question, answer = map(reader.text, exchange)
        messages += [Message("user", question), Message("assistant", answer)]
    extra = reader.text(row["input"]) if filled(row.get("input")) else ""
    instruction = reader.text(row["instruction"])
    question = f"{instruction}\n\n{extra}" if instruction.strip() and extra.strip() else instruction or extra
    return [*messages, Message("user", question)]


def _side(value: Any, role: str, reader: Reader) -> list[Message]:
    if isinstance(value, list) and value and all(isinstance(item, dict) and "type" not in item for item in value):
        return reader.turns(value, "prompt" if role == "user" else "completion")
    return [Message("user" if role == "user" else "assistant", reader.text(value))]


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
