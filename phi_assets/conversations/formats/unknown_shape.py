"""Says what a row of no known shape seems to hold, and how to have it read, where that can help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving_code.chat_text import role_of

_QUESTIONS = ("prompt", "question", "query", "instruction", "input", "user", "q", "problem", "context")
_ANSWERS = ("completion", "answer", "response", "output", "reply", "assistant", "a", "solution", "target")
_SPEAKERS = ("role", "from", "speaker", "sender", "author", "user", "name")
_SAID = ("content", "value", "text", "message", "body", "utterance")
_RENDERED = ("### ", "<|", "[INST]", "Human:", "User:")


def described(row: Mapping[str, Any]) -> str:
    """The keys of the row, and a remedy for what they are likely to be."""
    keys = sorted(map(str, row))
    found = f"keys found: {', '.join(keys)[:200] or 'none'}"
    return "; ".join(part for part in (found, _remedy(row)) if part)


def _remedy(row: Mapping[str, Any]) -> str:
    for key, value in row.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return how_to_read_turns(str(key), value[0])
    if {"input_ids", "token_ids"} & set(row):
        return "these are tokens, not text: give the conversations that they were made from"
    by_name = {str(key).casefold(): str(key) for key in row}
    question = next((by_name[name] for name in _QUESTIONS if isinstance(row.get(by_name.get(name, "")), str)), None)
    answer = next((by_name[name] for name in _ANSWERS if isinstance(row.get(by_name.get(name, "")), str)), None)
    if question and answer:
        pairs = [
            f"{ours}={theirs}" for ours, theirs in (("prompt", question), ("completion", answer)) if ours != theirs
        ]
        return f"PHI_COLUMNS={','.join(pairs)} reads them as a question with its answer"
    texts = [value for value in row.values() if isinstance(value, str)]
    if any(mark in text for text in texts for mark in _RENDERED):
        return "a text that holds a whole conversation is not taken apart: give its turns as messages"
    if len(texts) > 1:
        return "PHI_COLUMNS can map other names, such as prompt=<your column>,completion=<your column>"
    return "no key holds turns, or a question and its answer"


def how_to_read_turns(key: str, turn: Mapping[str, Any]) -> str:
    """A remedy for a column `key` whose turns are like this one."""
    speaker = next((name for name in _SPEAKERS if role_of(turn.get(name))), None) or next(
        (name for name in _SPEAKERS if isinstance(turn.get(name), str)), None
    )
    said = next((name for name in _SAID if name in turn and name != speaker), None)
    if not speaker or not said:
        return f"the objects in {key} have no role and text: {', '.join(sorted(map(str, turn)))[:100]}"
    pairs = {"messages": key, "role": speaker, "content": said}
    written = ",".join(f"{ours}={theirs}" for ours, theirs in pairs.items() if ours != theirs)
    return f"PHI_COLUMNS={written} reads them as turns" if written else "its turns cannot be read"
