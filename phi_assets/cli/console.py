"""Prints the output of the `phi` command: every text of users and models becomes `plain_text` here.

Such text is neither markup nor a control code. On a terminal, lines break between words and fit its width; in a pipe,
a text is complete and without colours.
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.text import Text

from phi_assets.plain_text import is_invisible, plain_text

MARKS = 4  # characters that are counted for a cell: marks without a width of their own follow a letter
NARROWEST = 20
LABEL = 15

Part = tuple[str, str]
"""A text, and its style for rich; no style is empty."""


def one_line(text: str) -> str:
    """Return the safe text as one line, with single spaces."""
    return re.sub(" +", " ", plain_text(text)).strip(" ")


def terminal_width(*, error: bool = False) -> int | None:
    """Return the columns of the terminal that stdout, or stderr, writes to; None if it is piped."""
    stream = sys.stderr if error else sys.stdout
    return max(shutil.get_terminal_size().columns, NARROWEST) if stream.isatty() else None


def print_text(text: str, *, indent: int = 0, error: bool = False, style: str = "") -> None:
    """Print a text of one or more lines, on stdout or stderr."""
    width = terminal_width(error=error)
    for line in plain_text(text, lines=True).split("\n"):
        margin = " " * (indent + len(line) - len(line.lstrip(" ")))
        for part in wrapped(line.strip(" "), width and width - len(margin)):
            print_parts([(f"{margin}{part}".rstrip(" "), style)], error=error)


def print_error(message: object) -> None:
    """Print the message of an error on stderr."""
    print_text(f"phi: {message}", error=True)


def print_field(label: str, text: str, *, width: int = LABEL, longest: int | None = None) -> None:
    """Print a label and a text after it, in at most `longest` lines on a terminal."""
    print_after([(padded(plain_text(label), width) + " ", "cyan")], one_line(text), longest=longest)


def print_after(start: Sequence[Part], text: str, *, longest: int | None = None) -> None:
    """Print a safe text after the start of its line; on a terminal, its next lines are indented as far as the first."""
    columns, indent = terminal_width(), cell_len(_text_of(start))
    room = columns and max(columns - indent, NARROWEST)
    if room and longest:
        lines = wrapped(shortened(text, room * longest), room, chop=True)
        if len(lines) > longest:
            lines[longest - 1 :] = [shortened(lines[longest - 1], room - 1, always=True)]
    else:
        lines = wrapped(text, room)
    if not text:
        print_parts([(_text_of(start).rstrip(), "")])
        return
    for at, line in enumerate(lines):
        print_parts([*([(" " * indent, "")] if at else start), (line, "")])


def say(who: str, words: str) -> None:
    """Print progress, one line each: the time, the asset, and the message."""
    start = [(f"{time.strftime('%H:%M:%S')} ", "dim"), (f"{padded(plain_text(who), 22)} ", "cyan")]
    for line in plain_text(words, lines=True).rstrip().split("\n") if words.strip() else ():
        message = line.lstrip(" ")
        print_after([*start, (" " * (len(line) - len(message)), "")], message)


def quiet(words: str) -> None:
    """Discard progress, for a command that prints only a report."""
    del words


def print_json(value: Any) -> None:
    """Print the value as JSON in which controls and invisible characters are escaped, so that it reads back equal."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    text = "".join(each if each == "\n" or not is_invisible(each) else json.dumps(each)[1:-1] for each in text)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)


def print_parts(parts: Iterable[Part], *, error: bool = False, end: str = "\n") -> None:
    """Print safe texts in their styles: none in a pipe, with NO_COLOR, or where TERM is dumb."""
    stream = sys.stderr if error else sys.stdout
    styled = stream.isatty() and not os.environ.get("NO_COLOR")  # for rich, NO_COLOR is about colours, and bold stays
    console = Console(file=stream, force_terminal=styled, markup=False, emoji=False, highlight=False)
    console.print(Text.assemble(*parts), end=end, soft_wrap=True)


def wrapped(text: str, width: int | None, *, chop: bool = False) -> list[str]:
    """Return a safe text as lines of at most `width` cells, broken between words.

    A longer word stays whole, so that addresses can be copied, or is cut into lines with `chop`.
    """
    if width is None or cell_len(text) <= width:
        return [text]
    lines, line = [], ""
    for word in re.findall(" *[^ ]+", text):
        if line and cell_len(line + word) > width:
            lines.append(line)
            line = ""
        line = line + word if line else word.lstrip(" ")
        if chop and cell_len(line) > width:
            *whole, line = chop_cells(line, width)
            lines += whole
    return [*lines, line]


def shortened(text: str, width: int, *, always: bool = False) -> str:
    """Return a safe text in at most `width` cells, with an ellipsis where it is cut, or `always`."""
    head = text[: MARKS * width]
    if head == text and cell_len(text) <= width and not always:
        return text
    return (set_cell_size(head, width - 1) if cell_len(head) >= width else head).rstrip() + "…"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a safe text with spaces up to `width` cells, before it with `right`."""
    spaces = " " * max(width - cell_len(text), 0)
    return spaces + text if right else text + spaces


def _text_of(parts: Iterable[Part]) -> str:
    return "".join(text for text, _ in parts)
