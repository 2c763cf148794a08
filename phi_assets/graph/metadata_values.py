"""Metadata as Dagster's UI shows it: pictures, tables, previews."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

PREVIEW_CHARACTERS = 160


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """Return a PNG embedded in Markdown, so that the UI shows it without access to the file."""
    content = base64.b64encode(path.read_bytes()).decode()
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{content})")


def with_pictures(text: str, pictures: Mapping[str, Path]) -> str:
    """Return the Markdown with these PNGs, which it references as files, embedded."""
    for name, path in pictures.items():
        content = base64.b64encode(path.read_bytes()).decode()
        text = text.replace(f"]({name})", f"](data:image/png;base64,{content})")
    return text


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.MarkdownMetadataValue:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def preview(path: Path, rows: int = 5) -> dg.MarkdownMetadataValue:
    """Return the first conversations of a JSON Lines file as a table, one message a row."""
    with path.open(encoding="utf-8") as handle:
        conversations = [json.loads(line) for line in islice(handle, rows)]
    messages = [
        (number, message["role"], message["content"][:PREVIEW_CHARACTERS])
        for number, conversation in enumerate(conversations, start=1)
        for message in conversation["messages"]
    ]
    return table(("row", "role", "content"), messages)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
