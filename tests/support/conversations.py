"""Conversations for tests, fixtures that write and prepare them, and helpers that read the prepared ones."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import Prepared, prepare
from phi_assets.conversations.sources.address import FileSource
from phi_assets.conversations.sources.feeds import Scan, pieces_of

WORDS = [
    f"{first}{last}"
    for first in ("am", "bo", "cel", "dur", "em", "fi")
    for last in ("ber", "den", "lin", "mos", "nar", "tor")
]


def scan_file(path: Path) -> list[Scan]:
    """Return a feed with everything in a file or a folder."""
    return [Scan(str(path), pieces_of(FileSource(path)))]


def dialogue(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def distinct(number: int) -> dict[str, Any]:
    """Return a conversation that is no near duplicate of that of another number."""
    words = [WORDS[(number * step + number // 7) % len(WORDS)] + str(number * step) for step in (3, 5, 7, 11, 13)]
    return dialogue(f"What about {' '.join(words)}?", f"It is {' '.join(reversed(words))}.")


def published(prepared: Prepared) -> list[list[tuple[str, str]]]:
    """Return all published conversations as role and content pairs."""
    return [
        [(role, content) for role, content in row.conversation] for rows in prepared.split.rows.values() for row in rows
    ]


def reasons(prepared: Prepared) -> dict[int, str]:
    """Return the quarantine's reasons by line number."""
    return {record.line: record.reason for record in prepared.quarantine}


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Write rows (objects, or raw bytes of a line) as JSON Lines, and return the path."""

    def write(rows: Iterable[Any], name: str = "raw.jsonl") -> Path:
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path = tmp_path / name
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return write


@pytest.fixture
def prepared(write_lines: Callable[..., Path]) -> Callable[..., Prepared]:
    """Prepare rows with the given options; no row was published before."""

    def run(rows: Iterable[Any], **options: Any) -> Prepared:
        return prepare(scan_file(write_lines(rows)), CleaningOptions(**options), {})

    return run
