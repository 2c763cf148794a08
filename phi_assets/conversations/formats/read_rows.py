"""Reads the rows of a file in any supported format, with line numbers; an unreadable row is a Broken, never fatal."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import orjson

from phi_assets.conversations.formats.arrow_files import read_arrow, read_parquet
from phi_assets.conversations.formats.delimited import read_delimited
from phi_assets.conversations.formats.file_names import data_suffix
from phi_assets.conversations.formats.first_bytes import (
    ARROW_FILE,
    ARROW_STREAM,
    GZIP,
    HEAD_BYTES,
    PARQUET,
    ZSTANDARD,
    trouble,
)
from phi_assets.conversations.formats.json_lines import parse_object, read_json_lines
from phi_assets.conversations.formats.json_tables import rows_of
from phi_assets.conversations.formats.json_values import read_json_values
from phi_assets.conversations.rows import Broken, Row, SourceError, shown

MAX_LINE_BYTES = 4 << 20
MAX_TABLE_BYTES = 256 << 20
"""The largest file that is one JSON object with a whole table, which can't be read as a stream."""


def read_rows(name: str, path: Path, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Row | Broken]:
    """Every row of a file, called `name`, in order, as a stream; anything but a JSON object is a Broken.

    The first bytes decide what the file is. `max_line_bytes` limits one line of JSON Lines, one element of a JSON
    array, one field of CSV and one row of Parquet or Arrow. Raises SourceError when the file as a whole can't be read,
    OSError when it can't be opened.
    """
    with path.open("rb") as file:
        start = file.read(max(HEAD_BYTES, max_line_bytes))
    if start.startswith(PARQUET):
        yield from read_parquet(name, path, max_line_bytes)
        return
    if start.startswith((ARROW_FILE, ARROW_STREAM)):
        yield from read_arrow(name, path, max_line_bytes)
        return
    head = start
    if start.startswith((GZIP, ZSTANDARD)):
        with _opened(path, start) as file:
            head = file.read(max(HEAD_BYTES, max_line_bytes))
        if head.startswith((PARQUET, ARROW_FILE, ARROW_STREAM)):
            raise SourceError(f"{shown(path)} can't be read: it is compressed Parquet or Arrow; unpack it")
    if wrong := trouble(name, head) or _by_name(name, head):
        raise SourceError(f"{shown(path)} can't be read: {wrong}")
    with _opened(path, start) as file:
        yield from _tables(name, _rows(name, file, path, head, max_line_bytes))


def _by_name(name: str, head: bytes) -> str:
    if head and data_suffix(name) in (".parquet", ".arrow"):
        return f"it is not readable as {data_suffix(name)[1:].capitalize()}, whatever its name says; copy it again"
    return ""


@contextmanager
def _opened(path: Path, start: bytes) -> Iterator[BinaryIO]:
    """The file's content as a binary stream, unpacked if it is compressed. Raises SourceError for a damaged one."""
    if not start.startswith((GZIP, ZSTANDARD)):
        with path.open("rb") as file:
            yield file
        return
    kind = "gzip" if start.startswith(GZIP) else "Zstandard"
    try:
        with _unpacked(path, kind) as file:
            yield file
    except (EOFError, OSError, zlib.error) as e:
        if isinstance(e, OSError) and e.errno:
            raise
        raise SourceError(
            f"{shown(path)} is not readable as {kind}: {e}; it is cut off or damaged: copy or download it again"
        ) from e


def _unpacked(path: Path, kind: str) -> BinaryIO:
    if kind == "gzip":
        return cast(BinaryIO, gzip.open(path, "rb"))
    import pyarrow as pa

    return cast(BinaryIO, io.BufferedReader(pa.input_stream(str(path), compression="zstd"), 1 << 16))


def _rows(name: str, file: BinaryIO, path: Path, head: bytes, max_bytes: int) -> Iterator[Row | Broken]:
    suffix, first = data_suffix(name), _text(head)[:1]
    if suffix in (".csv", ".tsv") and first not in (b"{", b"["):
        return read_delimited(file, name, max_bytes)
    lines = _looks_like_json_lines(head[:max_bytes])
    if not lines and first == b"{" and max_bytes < path.stat().st_size <= MAX_TABLE_BYTES:
        return _table_or_values(name, file, max_bytes)
    indented = first == b"[" or _text(head).split(b"\n", 1)[0].strip() == b"{"
    as_lines = lines if suffix == ".json" else lines or not indented
    return (read_json_lines if as_lines else read_json_values)(file, name, max_bytes)


def _table_or_values(name: str, file: BinaryIO, max_bytes: int) -> Iterator[Row | Broken]:
    """The one object of a file if it is a table, or else the file's values."""
    raw = file.read(MAX_TABLE_BYTES + 1)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict) and rows_of(value) is not None:
        yield Row(name, 1, value)
    else:
        yield from read_json_values(io.BytesIO(raw), name, max_bytes)


def _tables(name: str, items: Iterator[Row | Broken]) -> Iterator[Row | Broken]:
    """The rows, those that hold a table taken apart; the rows of a table are numbered from 1."""
    for item in items:
        rows = rows_of(item.value) if isinstance(item, Row) else None
        if rows is None:
            yield item
            continue
        for number, row in enumerate(rows, start=1):
            yield Row(name, number, row)


def _looks_like_json_lines(start: bytes) -> bool:
    """Whether the start of a file has a complete object on one line, so that it is JSON Lines."""
    lines = re.split(rb"\r?\n", _text(start))
    whole = [line for line in lines[:20] if line.startswith(b"{") and isinstance(parse_object(line, "", 1), Row)]
    return _text(start)[:1] == b"{" and bool(whole)


def _text(start: bytes) -> bytes:
    """The start of a text without its byte order mark and white space."""
    return start.removeprefix(codecs.BOM_UTF8).lstrip()
