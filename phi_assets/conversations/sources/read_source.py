"""Reads the rows of one piece of a feed: a file, a hub dataset, or a hub dataset that a job has already read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from phi_assets.conversations.formats.json_lines import read_json_lines
from phi_assets.conversations.formats.read_rows import MAX_LINE_BYTES, read_rows
from phi_assets.conversations.rows import Broken, Row, SourceError, shown
from phi_assets.conversations.sources.address import HubSource, RowsFile
from phi_assets.conversations.sources.hub_dataset import read_hub


def read_source(
    name: str, origin: Path | HubSource | RowsFile, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Row | Broken]:
    """The rows of a file, called `name`, or of a hub dataset, in order, as a stream; what isn't an object is a Broken.

    `max_line_bytes` is passed on to `read_rows`. Raises SourceError when the origin is missing, can't be reached, or is
    not a valid file of its format.
    """
    if isinstance(origin, HubSource):
        yield from read_hub(origin)
        return
    try:
        if isinstance(origin, RowsFile):
            with origin.path.open("rb") as file:
                yield from read_json_lines(file, str(origin.source), origin.path.stat().st_size)
            return
        yield from read_rows(name, origin, max_line_bytes)
    except OSError as e:
        path = shown(getattr(origin, "path", origin))
        raise SourceError(f"can't read {path}: {e.strerror or e}; check that it exists and may be read") from e
