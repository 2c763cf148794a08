"""Recognises JSON objects that hold a whole table, as pandas and others write them, and takes them apart into rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SPLITS = frozenset({"train", "training", "validation", "valid", "val", "dev", "test"})
_WRAPPERS = frozenset({"data", "rows", "items", "examples", "records", "dataset", "instances"})
_PLAIN_TURN = {"role", "content"}
_TURN_KEYS = frozenset({"role", "from", "content", "value", "type", "text"})


def rows_of(value: Mapping[str, Any]) -> Iterator[dict[str, Any]] | None:
    """The rows of a table; None when the object is a row itself.

    Recognised are pandas' `to_json` in its orientations columns (the default), index, split and table, columns of equal
    length, a single list of rows under a name such as `data`, and lists of rows under the names of splits.
    """
    first = next(iter(value.values()), None)
    if isinstance(first, dict) and all(isinstance(item, dict) for item in value.values()):
        return _of_objects(value)
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return (dict(zip(value["columns"], row, strict=False)) for row in value["data"])
    if isinstance(value.get("schema"), dict) and _are_rows(value.get("data")):
        return iter(value["data"])
    if isinstance(first, list) and first and isinstance(first[0], dict) and first[0].keys() == _PLAIN_TURN:
        return None  # most rows, quickly
    if not isinstance(first, list) or not all(isinstance(item, list) for item in value.values()):
        return None
    if value.keys() <= _WRAPPERS and len(value) == 1 and _are_rows(first):
        return iter(first)
    if value.keys() <= SPLITS and all(_are_rows(item) for item in value.values()):
        return ({"split": name, **row} for name, rows in value.items() for row in rows)
    return _of_lists(value)


def _are_rows(items: Any) -> bool:
    return isinstance(items, list) and bool(items) and all(isinstance(item, dict) for item in items)


def _of_objects(value: Mapping[str, Any]) -> Iterator[dict[str, Any]] | None:
    keys = next(iter(value.values())).keys()
    if keys and all(key.isdecimal() for key in keys) and all(item.keys() == keys for item in value.values()):
        return ({name: column[key] for name, column in value.items()} for key in keys)
    if value.keys() and all(key.isdecimal() for key in value) and not any(key.isdecimal() for key in keys):
        return iter(value.values())
    return None


def _is_text_or_turns(item: Any) -> bool:
    return isinstance(item, str) or _are_rows(item)


def _of_lists(value: Mapping[str, Any]) -> Iterator[dict[str, Any]] | None:
    """The rows of columns of equal length; the turns of one conversation are objects, and are no column."""
    length = len(next(iter(value.values())))
    if not length or any(len(column) != length for column in value.values()):
        return None
    elements = [item for column in value.values() for item in column]
    if any(isinstance(item, dict) and _TURN_KEYS & set(item) for item in elements):
        return None
    if not any(all(map(_is_text_or_turns, column)) for column in value.values()):
        return None
    if len(value) == 1 and any(isinstance(item, str) for item in elements):
        return None
    return (dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True))
