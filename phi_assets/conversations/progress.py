"""Progress of data preparation in words: rows done, of how many, how fast, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from phi_assets.conversations.formats.first_bytes import GZIP, PARQUET, ZSTANDARD
from phi_assets.conversations.sources.address import RowsFile
from phi_assets.conversations.sources.feeds import Piece

_HEAD = 1 << 20
_EVERY = 10.0


def estimated_rows(pieces: Iterable[Piece]) -> int:
    """About how many rows the pieces have; 0 when one does not tell: a dataset of the hub, or a compressed file."""
    total = 0
    for piece in pieces:
        path = piece.origin.path if isinstance(piece.origin, RowsFile) else piece.origin
        rows = _rows_of(path) if isinstance(path, Path) else 0
        if not rows:
            return 0
        total += rows
    return total


def _rows_of(path: Path) -> int:
    try:
        with path.open("rb") as file:
            head, size = file.read(_HEAD), path.stat().st_size
        if head.startswith(PARQUET):
            import pyarrow.parquet as pq

            return pq.ParquetFile(path).metadata.num_rows
    except (OSError, ValueError):  # reading it names what is wrong
        return 0
    lines = 0 if head.startswith((GZIP, ZSTANDARD)) else head.count(b"\n")
    return round(lines * size / len(head)) if lines else 0


class Pace:
    """Logs the rows of a stage every ten seconds, and its end. `log` gets one sentence.

    The first rows of a stage, which also wait for imports, do not count for its speed.
    """

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._stage, self._first, self._began, self._said = "", 0, 0.0, 0.0

    def __call__(self, stage: str, rows: int, total: int) -> None:
        """`rows` of about `total` (0: unknown) are done in a stage; the stage ends when they are equal."""
        now = self._clock()
        if stage != self._stage:
            self._stage, self._first, self._began, self._said = stage, rows, now, now
        if rows == total:
            self._log(f"{stage}: {rows:,} rows")
        elif now - self._said >= _EVERY:
            self._said = now
            speed = (rows - self._first) / (now - self._began)
            of = f" of about {total:,}" if total > rows else ""
            left = f", about {_duration((total - rows) / speed)} left" if total > rows and speed else ""
            self._log(f"{stage}: {rows:,}{of} rows, {speed:,.0f} a second{left}")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"
