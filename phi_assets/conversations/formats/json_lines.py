"""Reads JSON Lines as a stream: each valid line becomes a Row, each invalid one a Broken with its line number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from phi_assets.conversations.rows import Broken, Row

EXCERPT_BYTES = 16_384
"""Bytes of a broken line that are stored: enough to recognise it, and to mask a secret that the limit would cut."""


def read_json_lines(file: BinaryIO, name: str, max_bytes: int) -> Iterator[Row | Broken]:
    """Rows of a JSON Lines file; blank lines count as lines and are skipped. `max_bytes` limits one line."""
    number = 0
    while line := file.readline(max_bytes + 1):
        number += 1
        if len(line) > max_bytes and not line.endswith(b"\n"):
            _skip_to_end_of_line(file, max_bytes)
            yield Broken(name, number, "line_too_long", excerpt(line))
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield parse_object(line, name, number)


def _skip_to_end_of_line(file: BinaryIO, step: int) -> None:
    while (rest := file.readline(step)) and not rest.endswith(b"\n"):
        pass


def parse_object(raw: bytes, name: str, number: int) -> Row | Broken:
    """The row in `raw`, or a Broken with its reason: bad_utf8, truncated_json, invalid_json or not_an_object."""
    raw = raw.strip()  # orjson reports a truncated line as such only when no white space follows
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as e:
        value = _with_null_for_nan(raw)
        if value is None:
            return Broken(name, number, _reason(raw, e), excerpt(raw))
    if not isinstance(value, dict):
        return Broken(name, number, "not_an_object", excerpt(raw))
    return Row(name, number, value)


def _with_null_for_nan(raw: bytes) -> Any:
    """The value of JSON as Python writes it, with null for NaN and infinity; None when it is invalid otherwise too."""
    if b"NaN" not in raw and b"Infinity" not in raw:
        return None
    try:
        value = json.loads(raw, parse_constant=lambda _: None)
        orjson.dumps(value)  # refuses an unpaired surrogate, as reading does
    except (ValueError, RecursionError, TypeError):
        return None
    return value


def _reason(raw: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return "bad_utf8"
    return "truncated_json" if "unexpected end of data" in str(error) else "invalid_json"


def excerpt(raw: bytes) -> str:
    """The start of `raw` as text; bytes that aren't UTF-8 become the replacement character."""
    return raw[:EXCERPT_BYTES].decode("utf-8", errors="replace").strip()
