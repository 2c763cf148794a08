"""Markdown that several generated pages use."""

from collections.abc import Iterable, Sequence

from phi_assets.project import PROJECT

DOCS = PROJECT / "docs"
GENERATED = "<!-- Generated from the code by `make docs`; changes here are lost. -->"


def cell(text: str) -> str:
    """Return the text as the content of a table's cell: one line, without markup of its own outside of code."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    # Every second part is code, where < and > are literal.
    return "`".join(part if at % 2 else part.replace("<", "&lt;").replace(">", "&gt;") for at, part in enumerate(parts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell's line breaks and bars are made harmless."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(cell(text) for text in row) + " |" for row in rows)])


def page(title: str, *parts: str) -> str:
    """Return a whole page."""
    return "\n\n".join([GENERATED, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"
