"""Shared ways to write raw conversations and read prepared ones."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import Prepared, prepare
from tests.support.conversations import look_at


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
    """Prepare rows with the given options, none published before."""

    def run(rows: Iterable[Any], **options: Any) -> Prepared:
        return prepare(look_at(write_lines(rows)), CleaningOptions(**options), {})

    return run
