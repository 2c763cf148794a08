"""Reads Parquet, and Arrow files such as those of `save_to_disk` of Hugging Face datasets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from phi_assets.conversations.formats.first_bytes import ARROW_FILE, PARQUET
from phi_assets.conversations.rows import Broken, Row, SourceError, shown

_BATCH = 1024
_BATCH_BYTES = 64 << 20
_PAGE_VALUES = 1024
"""Values that writers put into a page before they look at its size; a page is unpacked as a whole."""
_PAGE_BYTES = 256 << 20
_SIGNATURE_BYTES = 28
TOO_LARGE = "row_too_large"


def read_parquet(name: str, path: Path, max_row_bytes: int) -> Iterator[Row | Broken]:
    """The rows of a Parquet file, unpacked about 64 MB at a time; larger rows than `max_row_bytes` are broken.

    Rows whose pages alone would need a quarter of a gigabyte are broken unread: a file of kilobytes can hold gigabytes.
    Raises SourceError with pyarrow's words when the file is cut off, encrypted or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            if _is_signed(path, file.metadata):
                raise OSError("its columns are encrypted")
            for group in range(file.metadata.num_row_groups):
                facts = file.metadata.row_group(group)
                largest, per_row = _largest_page(facts), _bytes_per_row(path, facts)
                if largest > _PAGE_BYTES:
                    text = f"in a row group whose values need up to {largest / 1e9:.1f} GB at a time"
                    for _ in range(facts.num_rows):
                        number += 1
                        yield Broken(name, number, TOO_LARGE, text)
                    continue
                rows = max(1, min(_BATCH, _BATCH_BYTES // max(1, per_row)))
                for batch in file.iter_batches(batch_size=rows, row_groups=[group]):
                    for item in _rows(batch, name, number, max_row_bytes):
                        number += 1
                        yield item
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _unreadable(path, "Parquet", number, e, _remedy(path, e)) from e


def _is_signed(path: Path, facts: Any) -> bool:
    """Whether the file's last part is readable and signed, so that columns are encrypted.

    pyarrow ends the process when it is asked for the facts of an encrypted column. The signature has 28 bytes (format
    specification of Parquet, "Modular Encryption", 5.5).
    """
    with path.open("rb") as file:
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
    return length - facts.serialized_size == _SIGNATURE_BYTES


def _columns(facts: Any) -> Iterator[Any]:
    return (facts.column(number) for number in range(facts.num_columns))


def _largest_page(facts: Any) -> int:
    """The bytes of the values that a writer puts into a page at once, if they are about equally long."""
    return max(
        (
            column.total_uncompressed_size * min(1, _PAGE_VALUES / max(1, column.num_values))
            for column in _columns(facts)
        ),
        default=0,
    )


def _bytes_per_row(path: Path, facts: Any) -> int:
    """An upper estimate of the bytes of a row: a value of a dictionary may be as long as the whole dictionary."""
    found = 0
    with path.open("rb") as file:
        for column in _columns(facts):
            found += column.total_uncompressed_size // max(1, facts.num_rows)
            if column.has_dictionary_page:
                file.seek(column.dictionary_page_offset)
                unpacked = _unpacked_size(file.read(16))
                found += column.total_uncompressed_size if unpacked is None else unpacked
    return found


def _unpacked_size(header: bytes) -> int | None:
    """The unpacked bytes of the page that `header` begins; None where it is not one.

    Two integers in Thrift's compact protocol: the page's type and its size, each after 0x15 and in zigzag form (format
    specification of Parquet, PageHeader).
    """
    value, place = 0, 0
    for _ in range(2):
        if header[place : place + 1] != b"\x15":
            return None
        value, shift, place = 0, 0, place + 1
        while place < len(header):
            byte = header[place]
            value |= (byte & 0x7F) << shift
            shift, place = shift + 7, place + 1
            if byte < 0x80:
                break
    return value >> 1


def _rows(batch: Any, name: str, number: int, max_row_bytes: int) -> Iterator[Row | Broken]:
    """The rows of a batch, the first after `number`; those above the limit as broken ones, without unpacking them."""
    if batch.nbytes <= max_row_bytes:
        for line, value in enumerate(_values(batch), start=number + 1):
            yield Row(name, line, value)
        return
    for place in range(batch.num_rows):
        one, line = batch.slice(place, 1), number + 1 + place
        if one.nbytes > max_row_bytes:
            yield Broken(name, line, TOO_LARGE, f"a row of {one.nbytes / 1e6:.1f} MB")
        else:
            yield Row(name, line, next(_values(one)))


def _remedy(path: Path, error: Exception) -> str:
    if "encrypt" in str(error).lower() or "decrypt" in str(error).lower():
        return "it is encrypted: write it again without encryption"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(PARQUET)))
        whole = file.read() == PARQUET
    return "write it again" if whole else "it is cut off: copy or download it again"


def read_arrow(name: str, path: Path, max_row_bytes: int) -> Iterator[Row | Broken]:
    """The rows of an Arrow file or stream; larger ones than `max_row_bytes` are broken.

    Raises SourceError with pyarrow's words when the file is cut off or damaged.
    """
    import pyarrow as pa

    number = 0
    try:
        with pa.OSFile(str(path)) as file:
            for batch in _batches(file):
                rows = max(1, min(_BATCH, _BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)))
                for start in range(0, batch.num_rows, rows):
                    for item in _rows(batch.slice(start, rows), name, number, max_row_bytes):
                        number += 1
                        yield item
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
