"""Reads columns that hold JSON as text, as CSV files, databases and some Parquet files store nested values."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import orjson

from phi_assets.conversations.rows import Rejected

_TURNS = ("messages", "conversations")
_NAMES = frozenset({*_TURNS, "history", "prompt", "completion", "chosen", "rejected", "tools"})


def from_json_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with lists where its columns of turns hold their text: JSON, or what Python prints for a list.

    Raises Rejected `json_text` for a column of turns whose text is neither, with the parser's words.
    """
    result = dict(row)
    for name, text in row.items():
        if not isinstance(text, str) or name not in _NAMES:
            continue
        if name in _TURNS or text.lstrip()[:2] in ("[{", "[["):
            value = _parsed(text, name)
            if isinstance(value, list):
                result[name] = value
    return result


def _parsed(text: str, name: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as e:
        if "'" in text[:20]:
            try:
                return ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                pass
        if name in _TURNS and text.lstrip()[:1] in ("[", "{"):
            raise Rejected("json_text", "broken", f"{name} is text that is not JSON: {e}") from e
        return None
