"""Draws two pictures of a run: which tokens are in the loss, and the loss by step."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .chat_template import Message, Tokens

LEARNT, GIVEN = "#b7e4c7", "#e9ecef"
LONGEST_SHOWN = 160  # tokens of a row in a picture
WIDTH = 110  # characters to a line
BYTES_OF_A_LETTER = 4  # at most, in UTF-8
SHOWS_NO_LETTERS = re.compile("Emoji|Last ?Resort")  # pictures in colour, which are not drawn; boxes for every letter
FONT = "DejaVu Sans Mono"  # comes with matplotlib
WITHOUT_FONT = "no font of this machine has the letters that are shown as codes; install one, such as Noto"
MOST_POINTS = 150  # of a curve


def chosen_rows(conversations: Sequence[Sequence[Message]], count: int = 3) -> list[int]:
    """Indices of the rows to show: those with the most turns, the shorter first among equals."""
    order = sorted(range(len(conversations)), key=lambda i: (-len(conversations[i]), len(str(conversations[i]))))
    return order[:count]


def pieces(tokenizer: PreTrainedTokenizerBase, row: Tokens) -> list[tuple[str, bool]]:
    """The text of each token, and whether it is in the loss; a line break is shown as ↵.

    A letter of several tokens, as most of Korean, is one piece: its tokens alone are no text.
    """
    found, waiting = list[tuple[str, bool]](), list[int]()
    for i, learn in zip(row.ids[:LONGEST_SHOWN], row.in_loss, strict=False):
        waiting.append(i)
        text = str(tokenizer.decode(waiting, clean_up_tokenization_spaces=False))
        if not text.endswith("\ufffd") or len(waiting) == BYTES_OF_A_LETTER:
            found.append((text.replace("\n", "↵"), learn))
            waiting = []
    return found


def mask_html(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Tokens]) -> str:
    """The rows as HTML, with a green background for tokens in the loss."""
    blocks = []
    for row in rows:
        spans = (
            f'<span style="background:{LEARNT if learn else GIVEN}">{html.escape(text)}</span>'
            for text, learn in pieces(tokenizer, row)
        )
        blocks.append(f"<p><code>{''.join(spans)}</code></p>")
    return "\n".join(blocks)


def draw_mask(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Tokens], path: Path) -> None:
    """Write a picture of the rows' tokens to `path`: green in the loss, grey where the prompt gives them."""
    from matplotlib.figure import Figure

    shown = [pieces(tokenizer, row) for row in rows]
    fonts, missing = fonts_for({letter for row in shown for text, _ in row for letter in text})
    shown = [[(escaped(text, missing), learn) for text, learn in row] for row in shown]
    lines = [line for row in shown for line in [*wrapped(row), []]]
    figure = Figure(figsize=(8.95, 0.5 + 0.24 * len(lines)), dpi=110)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(len(lines) + 1, 0)
    axes.text(0, 0.6, "in the loss", family="monospace", size=10, backgroundcolor=LEARNT)
    axes.text(14, 0.6, "given", family="monospace", size=10, backgroundcolor=GIVEN)
    if missing:
        axes.text(22, 0.6, WITHOUT_FONT, family="monospace", size=8)
    for y, line in enumerate(lines, 1):
        x = 0
        for text, learn in line:
            axes.barh(y + 0.5, width(text), 0.8, x, color=LEARNT if learn else GIVEN, edgecolor="white", linewidth=0.8)
            # matplotlib reads a dollar sign as the start of a formula.
            axes.text(x, y + 0.5, text.replace("$", r"\$"), family=fonts, size=9.5, va="center")
            x += width(text)
    figure.savefig(path)


def fonts_for(letters: set[str]) -> tuple[list[str], set[str]]:
    """Names of fonts found on this machine that together have the letters, and the letters that none has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    fonts, missing = [FONT], letters - letters_of(findfont(FontProperties(family=FONT)))
    # Fonts of Noto are made to go with others, so they come first.
    known = {
        font.name: font.fname for font in fontManager.ttflist if font.style == "normal" and "Emoji" not in font.name
    }
    for name in sorted(known, key=lambda name: ("CJK" not in name, "Noto" not in name, name)):
        if not missing:
            break
        if found := missing & letters_of(known[name]):
            fonts.append(name)
            missing -= found
    return fonts, missing


@cache
def letters_of(file: str) -> frozenset[str]:
    """The letters that a font file has; none when it cannot be read."""
    from matplotlib.font_manager import get_font

    try:
        return frozenset(map(chr, get_font(file).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


def escaped(text: str, missing: set[str]) -> str:
    """The text with the missing letters as codes, such as \\ud55c."""
    return "".join(
        letter.encode("ascii", "backslashreplace").decode() if letter in missing else letter for letter in text
    )


def width(text: str) -> int:
    """Columns that the text takes: two for a wide letter of East Asia, none for a mark on another letter."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def wrapped(parts: Sequence[tuple[str, bool]]) -> list[list[tuple[str, bool]]]:
    lines: list[list[tuple[str, bool]]] = [[]]
    for text, learn in parts:
        if sum(width(t) for t, _ in lines[-1]) + width(text) > WIDTH and lines[-1]:
            lines.append([])
        lines[-1].append((text, learn))
    return lines


def draw_losses(history: Sequence[Mapping[str, Any]], path: Path, unit: str = "loss per token (nats)") -> None:
    """Write a picture of training loss by step, and of the validation losses, to `path`; `unit` names the axis.

    Of many steps it shows the mean of each few: noise would hide the curve, and make the file large.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for key, label, style in (("loss", "training", "-"), ("eval_loss", "validation", "o-")):
        points = thinned([(entry["step"], entry[key]) for entry in history if key in entry])
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel(unit)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path)


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points: the means of equally many neighbours."""
    size = -(-len(points) // most) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
