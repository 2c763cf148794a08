r"""Writes Markdown. Texts of users and models are escaped here, so that none is a link, an image, HTML or a structure.

Dagster's UI (react-markdown with GitHub's extensions) looks for bare addresses after it has removed backslashes and
decoded entities, so that neither protects `https://`, `www.` and `@`; a run's log looks into inline code too. Both
look at one piece of text at a time: the `:`, `.` or `@` of an address becomes inline code, and the pieces around it
are no address. Every other text looks like itself.

A `Markdown` is never escaped again, and a `str` always is: a text whose escaping was forgotten shows backslashes.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from phi_assets.plain_text import plain_text


class Markdown(str):
    """Text that is Markdown already: written by this project, or returned by this module."""


_OF_AN_ADDRESS = re.compile(r"(?:@|:(?=//)|(?<=www)\.)+", re.IGNORECASE)
_SYNTAX = re.compile(r"[\\*\[\]~$]|(?<![^\W_])_|_(?![^\W_])")  # `_` inside a word, as in PHI_HOME, is only itself
# Spaces other than the usual one: at the ends of a paragraph a renderer takes them away.
_SPACES = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "`": "&#96;"} | {
    chr(each): f"&#{each};" for each in _SPACES
}
_START = re.compile(r"(?=[#=:]|[+-](?:[ -]|$))|\d{1,9}(?=[.)](?: |$))")
_WRITTEN = re.compile(r"`([^`]*)`|\\(.)|&(?:amp|lt|gt|#\d+);")
_DECODED = {entity: each for each, entity in _ENTITIES.items()}


def text(value: object, longest: int | None = None) -> Markdown:
    """Return a value as one line of Markdown that shows its text: in a paragraph, a list or a table's cell.

    Invisible characters become escapes, as in `plain_text`, and lines are joined by spaces. More than `longest`
    characters are cut, with an ellipsis and their number. A `Markdown` is returned as it is.
    """
    if isinstance(value, Markdown):
        return value
    shown = plain_text(str(value)).strip(" ")
    if longest is not None and len(shown) > longest:
        end = longest
        while end and unicodedata.category(shown[end]).startswith("M"):  # a mark belongs to the letter before it
            end -= 1
        shown = f"{shown[:end]}… ({len(shown):,} characters)"
    escaped = _SYNTAX.sub(r"\\\g<0>", shown)
    escaped = "".join(_ENTITIES.get(each, each) for each in escaped)
    return Markdown(_line(_OF_AN_ADDRESS.sub(r"`\g<0>`", escaped)))


def plain(written: str) -> str:
    """Return the text that `text` escaped, with its escapes of invisible characters."""
    return _WRITTEN.sub(lambda found: _DECODED.get(found.group()) or found.group(1) or found.group(2) or "", written)


def code(value: object) -> Markdown:
    """Return a short text, such as a digest or a name, as inline code."""
    shown = plain_text(str(value)).strip(" ")
    return text(shown) if not shown or set(shown) & set("`|") or "://" in shown else Markdown(f"`{shown}`")


def block(value: str, language: str = "") -> Markdown:
    """Return lines as a block of code, which no line of them ends."""
    shown = plain_text(value, lines=True).strip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return Markdown(f"{fence}{language}\n{shown}\n{fence}")


def link(words: str, *path: str) -> Markdown:
    """Return a link to a page of Dagster's UI: `link("run", "runs", run_id)`."""
    return Markdown(f"[{text(words)}](/{'/'.join(quote(plain_text(part), safe='') for part in path)})")


def joined(parts: Iterable[object], separator: str = ", ") -> Markdown:
    """Return texts and Markdown, with a separator of the caller between them."""
    return Markdown(separator.join(text(part) for part in parts))


def bullets(items: Iterable[object]) -> Markdown:
    """Return a list of texts."""
    return Markdown("\n".join(f"- {text(item)}" for item in items))


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], longest: int | None = None) -> Markdown:
    """Return a table of texts and Markdown."""
    lines = [f"| {' | '.join(text(title) for title in header)} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join(text(value, longest) for value in row)} |" for row in rows]
    return Markdown("\n".join(lines))


def _line(line: str) -> str:
    """Return the line with a backslash before what would begin a heading, a list or a table's second line."""
    found = _START.match(line)
    return f"{line[: found.end()]}\\{line[found.end() :]}" if found else line
