"""Metadata as Dagster's UI shows it: Markdown, pictures, tables, previews.

No other module makes Markdown metadata: Dagster's UI fetches the images of Markdown with the user's own session, and
executes what such an address asks for. Short Markdown is shown at once, in pages and logs; long Markdown after a click.
Dagster's event log stores each value three times, for ever: with the asset, with its run, and with the step's output.
"""

import base64
import html
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets import markdown as markdown_text
from phi_assets.markdown import Markdown
from phi_assets.plain_text import plain_text

PREVIEW_CHARACTERS = 160
PICTURE_WIDTH, PICTURE_COLOURS = 480, 8  # a plot is legible, and takes about 4 kB instead of 60
MARKED_CHARACTERS = 1_200
SPAN = re.compile(r'<span style="background:(#\w+)">(.*?)</span>', re.DOTALL)
LEARNT = "#b7e4c7"  # of training_code/pictures.py: a token in the loss
CELL_CHARACTERS = 1000


def markdown(value: Markdown) -> dg.MarkdownMetadataValue:
    """Return Markdown of this project. Raises TypeError for a `str`, which may hold a text of users and models."""
    if not isinstance(value, Markdown):
        raise TypeError("a str is not Markdown: pass what a function of phi_assets.markdown returns")
    return dg.MetadataValue.md(str(value))


def text(value: object) -> dg.TextMetadataValue:
    """Return a text of users and models, which Dagster's UI shows without markup, with its invisible characters."""
    return dg.MetadataValue.text(plain_text(str(value), lines=True))


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """Return a small version of a PNG embedded in Markdown, so that the UI shows it without access to the file."""
    return markdown(Markdown(f"![{path.stem}]({_small(path)})"))


def tokens_in_loss(mask: Path) -> dg.MarkdownMetadataValue:
    """Return the text of mask.html as a block of lines: those with + are in the loss, the others are given."""
    lines: list[str] = []
    for row in mask.read_text(encoding="utf-8").split("</p>"):
        before = None
        for colour, token in SPAN.findall(row):
            sign = "+ " if colour == LEARNT else "  "
            if sign != before:
                lines.append(sign)
            lines[-1] += html.unescape(token).replace("\n", "↵")
            before = sign
    text = "\n".join(lines)[:MARKED_CHARACTERS]
    return markdown(Markdown(f"Lines with + are in the loss.\n\n{markdown_text.block(text, 'diff')}"))


def with_pictures(value: Markdown, pictures: Mapping[str, Path]) -> Markdown:
    """Return Markdown with small versions of these PNGs, which lines of their own reference as files, embedded."""
    lines = value.split("\n")
    for name, path in pictures.items():
        end = f"]({name})"
        address = _small(path)
        lines = [
            f"{line.removesuffix(end)}]({address})" if line.startswith("![") and line.endswith(end) else line
            for line in lines
        ]
    return Markdown("\n".join(lines))


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.MarkdownMetadataValue:
    """Return a table of texts and Markdown, in which long cells are cut."""
    return markdown(markdown_text.table(header, rows, CELL_CHARACTERS))


def bullets(items: Iterable[object]) -> dg.MarkdownMetadataValue:
    """Return a list of texts."""
    return markdown(markdown_text.bullets(items))


def block(value: str, language: str = "") -> dg.MarkdownMetadataValue:
    """Return lines as a block of code."""
    return markdown(markdown_text.block(value, language))


def preview(path: Path, rows: int = 5) -> dg.MarkdownMetadataValue:
    """Return the first conversations of a JSON Lines file as a table, one message a row."""
    with path.open(encoding="utf-8") as handle:
        conversations = [json.loads(line) for line in islice(handle, rows)]
    messages = [
        (number, message["role"], markdown_text.text(message["content"], PREVIEW_CHARACTERS))
        for number, conversation in enumerate(conversations, start=1)
        for message in conversation["messages"]
    ]
    return table(("row", "role", "content"), messages)


def _small(path: Path) -> str:
    """Return the PNG as a `data:` address, in fewer pixels and colours."""
    from PIL import Image  # a requirement of matplotlib

    with Image.open(path) as found:
        width = min(PICTURE_WIDTH, found.width)
        drawn = found.convert("RGB").resize((width, max(1, found.height * width // found.width)))
    drawn = drawn.quantize(PICTURE_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    content = io.BytesIO()
    drawn.save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
