"""Reads CSV and TSV as a stream; the first line names the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

from phi_assets.conversations.formats.json_lines import EXCERPT_BYTES
from phi_assets.conversations.rows import Broken, Row

_DELIMITERS = ",;\t|"  # Excel writes semicolons where the comma is the decimal sign


def read_delimited(file: BinaryIO, name: str, max_bytes: int) -> Iterator[Row | Broken]:
    """Rows with the line on which each starts; a row with more or fewer fields than columns is broken.

    `max_bytes` limits one field. A field is text, the empty one too; one that holds JSON is read later.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _rows(text, name, max_bytes)
    finally:
        text.detach()  # the file belongs to the caller


def _rows(text: io.TextIOWrapper, name: str, max_bytes: int) -> Iterator[Row | Broken]:
    header = text.readline()
    # The limit is of the whole process; it is never lowered.
    csv.field_size_limit(max(csv.field_size_limit(), max_bytes))
    rows = csv.reader(_from(header, text), delimiter=max(_DELIMITERS, key=header.count))
    columns: list[str] = []
    while True:
        line = rows.line_num + 1
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as e:
            yield Broken(name, line, "invalid_csv", str(e))
            continue
        if not columns:
            columns = [column.strip() for column in fields]
        elif fields:
            yield _row(name, line, columns, fields)


def _from(header: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield header
    yield from rest


def _row(name: str, line: int, columns: list[str], fields: list[str]) -> Row | Broken:
    reason = "" if len(fields) == len(columns) else "wrong_number_of_fields"
    excerpt = " ".join(fields)
    try:
        excerpt.encode()
    except UnicodeEncodeError:
        excerpt = excerpt.encode("utf-8", "replace").decode()
        reason = "bad_utf8"
    if reason:
        return Broken(name, line, reason, excerpt[:EXCERPT_BYTES])
    return Row(name, line, {column: field for column, field in zip(columns, fields, strict=True) if column})
