"""Tables of the `phi` command: plain columns without lines around them, whose names are never broken.

In a pipe, a row is one line of complete cells, two spaces apart, with a dash for an empty one. On a terminal, a row is
one line of its width, and texts that do not fit follow on lines of their own. Columns without content are left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from phi_assets.cli.console import (
    Part,
    one_line,
    padded,
    print_after,
    print_parts,
    shortened,
    terminal_width,
    wrapped,
)
from phi_assets.plain_text import plain_text

GAP, INDENT = "  ", "    "
EMPTY = "-"
PIPED_WIDTH = 60  # a longer cell does not widen its column for all other rows
TEXT_WIDTH = 24  # a text is not put into a narrower column
LONGEST_NAME = 200
TITLE, HEADER = "bold", "dim"


@dataclass(frozen=True, eq=False)
class Column:
    """A column. Names and numbers are never broken; a text may be, and is shortened on a terminal.

    On a terminal that is too narrow for the names, or for the first text if that suffices, `optional` columns are left
    out, the last one first.
    """

    title: str
    text: bool = False
    number: bool = False
    optional: bool = False
    styles: Mapping[str, str] = field(default_factory=dict, metadata={"doc": "the style of each value"})


Cells = Mapping[Column, str]
Layout = dict[Column, int]
"""The columns that a row shows on its line, and their widths."""


def print_table(title: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, longest: int = 3) -> None:
    """Print the rows under the title; on a terminal, a text has at most `longest` lines."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    table = [dict(zip(columns, row, strict=True)) for row in cells]
    used = [column for column in columns if any(row[column] for row in table)]
    width = terminal_width()
    print_parts([(plain_text(title), TITLE)])
    if not used:
        print_parts([("none", "")])
    elif width is None:
        _print_piped(used, table)
    elif layout := _layout(used, table, width):
        _print_rows(layout, used, table, longest)
    else:
        _print_records(used, table, longest)
    print_parts([])


def _print_piped(columns: Sequence[Column], table: Sequence[Cells]) -> None:
    layout = {
        column: max(cell_len(cell) for cell in (column.title, *(row[column] for row in table)) if _is_short(cell))
        for column in columns
    }
    _print_line(layout, {column: column.title for column in columns})
    for row in table:
        _print_line(layout, {column: row[column] or EMPTY for column in columns})


def _is_short(cell: str) -> bool:
    return cell_len(cell) <= PIPED_WIDTH


def _layout(columns: Sequence[Column], table: Sequence[Cells], width: int) -> Layout:
    """Return the columns of one line; none if even the names are too wide for it."""
    cells = {column: [row[column] for row in table] for column in columns}
    natural = {column: max(map(cell_len, (column.title, *cells[column]))) for column in columns}
    if _total(natural) <= width:
        return natural
    layout = {
        column: max(_narrow(column.title), *map(cell_len, cells[column])) for column in columns if not column.text
    }
    text = next((min(natural[column], TEXT_WIDTH) + len(GAP) for column in columns if column.text), 0)
    needed = {column: wide for column, wide in layout.items() if not column.optional}
    room = width - text if _total(needed) <= width - text else width
    for column in reversed(list(layout)):
        if column.optional and _total(layout) > room:
            del layout[column]
    if not layout or _total(layout) > width:
        return {}
    for column in columns:
        room = width - _total(layout) - len(GAP)
        fitting = [cell_len(cell) for cell in cells[column] if cell and cell_len(cell) <= room]
        if column.text and fitting and room >= min(natural[column], TEXT_WIDTH):
            layout[column] = max(cell_len(column.title), *fitting)
    for column in layout:
        longer = max(cell_len(column.title) - layout[column], 0)
        if _total(layout) + longer <= width:
            layout[column] += longer
    return {column: layout[column] for column in columns if column in layout}


def _narrow(title: str) -> int:
    """Return the width of the title on two lines."""
    words = title.split()
    return min(max(cell_len(" ".join(words[:at])), cell_len(" ".join(words[at:]))) for at in range(len(words)))


def _total(layout: Layout) -> int:
    return sum(layout.values()) + len(GAP) * (len(layout) - 1)


def _print_rows(layout: Layout, columns: Sequence[Column], table: Sequence[Cells], longest: int) -> None:
    """Print each row as a line, and under it its texts that do not fit on the line."""
    titles = {column: wrapped(column.title, width) for column, width in layout.items()}
    height = max(map(len, titles.values()))
    for at in range(height):
        heads = {column: ([""] * (height - len(title)) + title)[at] for column, title in titles.items()}
        _print_line(layout, heads, style=HEADER)
    on_line = [{column for column, width in layout.items() if cell_len(row[column]) <= width} for row in table]
    below = [
        [column for column in columns if column not in fitting and row[column]]
        for row, fitting in zip(table, on_line, strict=True)
    ]
    label = max((cell_len(column.title) for hidden in below for column in hidden if column.text), default=0)
    for row, fitting, hidden in zip(table, on_line, below, strict=True):
        _print_line(layout, {column: row[column] if column in fitting else "" for column in layout})
        for column in hidden:
            if column.text:
                start = f"{INDENT}{padded(column.title, label)}{GAP}"
                print_after([(start, HEADER)], row[column], longest=longest)


def _print_records(columns: Sequence[Column], table: Sequence[Cells], longest: int) -> None:
    """Print each row as a block with a line for each cell: the names together are too wide for one line."""
    label = max(cell_len(column.title) for column in columns)
    for number, row in enumerate(table):
        if number:
            print_parts([])
        for column in columns:
            start, cell = (f"{padded(column.title, label)}{GAP}", HEADER), row[column]
            if column.text and cell:
                print_after([start], cell, longest=longest)
            elif cell:
                print_parts([start, (shortened(cell, LONGEST_NAME), column.styles.get(cell, ""))])


def _print_line(layout: Layout, row: Cells, *, style: str = "") -> None:
    filled = [column for column in layout if row[column]]
    parts: list[Part] = []
    for column, width in layout.items():
        cell = row[column]
        end = column is filled[-1] if filled else True
        text = cell if end and not column.number else padded(cell, width, right=column.number)
        parts += [(text, style or column.styles.get(cell, "")), ("" if end else GAP, "")]
        if end:
            break
    print_parts(parts)
