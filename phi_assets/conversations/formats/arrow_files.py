"""Reads Parquet, and Arrow files such as those of `save_to_disk` of Hugging Face datasets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phi_assets.conversations.formats.first_bytes import ARROW_FILE, PARQUET
from phi_assets.conversations.rows import Row, SourceError, shown

_BATCH = 1024


def read_parquet(name: str, path: Path) -> Iterator[Row]:
    """The rows of a Parquet file. Raises SourceError with pyarrow's words when it is cut off, encrypted or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for value in _values(batch):
                    number += 1
                    yield Row(name, number, value)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _unreadable(path, "Parquet", number, e, _remedy(path, e)) from e


def _remedy(path: Path, error: Exception) -> str:
    if "encrypt" in str(error).lower() or "decrypt" in str(error).lower():
        return "it is encrypted: write it again without encryption"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(PARQUET)))
        whole = file.read() == PARQUET
    return "write it again" if whole else "it is cut off: copy or download it again"


def read_arrow(name: str, path: Path) -> Iterator[Row]:
    """The rows of an Arrow file or stream. Raises SourceError with pyarrow's words when it is cut off or damaged."""
    import pyarrow as pa

    number = 0
    try:
        with pa.OSFile(str(path)) as file:
            for batch in _batches(file):
                for start in range(0, batch.num_rows, _BATCH):
                    for value in _values(batch.slice(start, _BATCH)):
                        number += 1
                        yield Row(name, number, value)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _unreadable(path, "Arrow", number, e, "it is cut off or damaged: copy or download it again") from e


def _batches(file: Any) -> Iterator[Any]:
    import pyarrow as pa

    is_file = file.read(len(ARROW_FILE)) == ARROW_FILE
    file.seek(0)
    if not is_file:
        yield from pa.ipc.open_stream(file)
        return
    reader = pa.ipc.open_file(file)
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def _values(batch: Any) -> Iterator[dict[str, Any]]:
    floats = any("float" in str(kind) or "double" in str(kind) for kind in batch.schema.types)
    for value in batch.to_pylist():
        yield finite(value) if floats else value


def finite(value: Any) -> Any:
    """The value with null for NaN, which pandas writes for what is missing, and for infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value


def _unreadable(path: Path, kind: str, rows: int, error: Exception, remedy: str) -> SourceError:
    words = " ".join(str(error).split())[:300].rstrip(".")
    return SourceError(f"{shown(path)} is not readable as {kind} after row {rows}: {words}; {remedy}")
