"""Reads the rows of a file in any supported format, with line numbers; an unreadable row is a Broken, never fatal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from phi_assets.conversations.formats.json_lines import parse_object, read_json_lines
from phi_assets.conversations.formats.json_values import read_json_values
from phi_assets.conversations.rows import Broken, Row, SourceError

MAX_LINE_BYTES = 4 << 20


def read_rows(name: str, path: Path, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Row | Broken]:
    """Every row of a file, called `name`, in order, as a stream; anything but a JSON object is a Broken.

    `max_line_bytes` limits one line of JSON Lines and one element of a JSON array. Raises SourceError when the file is
    not valid Parquet, and OSError when it can't be read.
    """
    if path.suffix.lower() == ".parquet":
        yield from _read_parquet(name, path)
        return
    with path.open("rb") as file:
        lines = path.suffix.lower() != ".json" or _looks_like_json_lines(file.read(max_line_bytes))
        file.seek(0)
        yield from (read_json_lines if lines else read_json_values)(file, name, max_line_bytes)


def _looks_like_json_lines(start: bytes) -> bool:
    """Whether the start of a .json file has a complete object on one line, so that it is JSON Lines."""
    lines = re.split(rb"\r?\n", start.lstrip())
    whole = [line for line in lines[:20] if line.startswith(b"{") and isinstance(parse_object(line, "", 1), Row)]
    return start.lstrip()[:1] == b"{" and bool(whole)


def _read_parquet(name: str, path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(name, number, value)
    except (pa.ArrowException, UnicodeDecodeError) as e:
        raise SourceError(f"{path} is not readable as Parquet after row {number}: {e}; write the file again") from e
