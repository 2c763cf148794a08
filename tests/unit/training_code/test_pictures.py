"""The picture of tokens in the loss, in scripts that take several tokens a letter and that the first font has not."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from training_code import pictures
from training_code.chat_template import Tokens


class Bytes:
    """A tokenizer whose tokens are bytes of UTF-8."""

    def decode(self, ids: list[int], **options: Any) -> str:
        return bytes(ids).decode("utf-8", "replace")


def row(text: str) -> Tokens:
    ids = list(text.encode())
    return Tokens(ids, [place > 2 for place in range(len(ids))])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The texts that are drawn, with their fonts."""
    found: list[tuple[str, Any]] = []
    text = Axes.text

    def record(self: Axes, x: float, y: float, s: str, **options: Any):
        found.append((s, options.get("family")))
        return text(self, x, y, s, **options)

    monkeypatch.setattr(Axes, "text", record)
    return found


def draw(text: str, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each letter that no font has
        pictures.draw_mask(Bytes(), [row(text)], path)  # pyright: ignore[reportArgumentType]


def test_the_tokens_of_one_letter_are_one_piece():
    assert pictures.pieces(Bytes(), row("a\n한b")) == [("a", False), ("↵", False), ("한", True), ("b", True)]  # pyright: ignore[reportArgumentType]


def test_bytes_that_are_no_text_still_become_pieces():
    broken = Tokens([0xED, 0xED, 0xED, 0xED, 0xED], [True] * 5)
    assert "".join(text for text, _ in pictures.pieces(Bytes(), broken)).startswith("\ufffd")  # pyright: ignore[reportArgumentType]


def test_letters_of_another_font_are_drawn_with_it(tmp_path: Path, drawn: list[tuple[str, Any]]):
    draw("\u05d0bc", tmp_path / "mask.png")  # Hebrew: DejaVu Sans Mono has it not, DejaVu Sans has
    assert (tmp_path / "mask.png").stat().st_size > 1_000
    (fonts,) = [fonts for text, fonts in drawn if text == "\u05d0"]
    assert (fonts[0], len(fonts)) == (pictures.FONT, 2)
    assert pictures.WITHOUT_FONT not in [text for text, _ in drawn]


def test_letters_that_no_font_has_are_shown_as_codes_and_the_picture_says_so(
    tmp_path: Path, drawn: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    letters = pictures.letters_of
    monkeypatch.setattr(pictures, "letters_of", lambda file: letters(file) - {"한"})
    draw("한 a", tmp_path / "mask.png")
    texts = [text for text, _ in drawn]
    assert "\\ud55c" in texts
    assert pictures.WITHOUT_FONT in texts


def test_wide_letters_take_two_columns_and_marks_none():
    assert pictures.width("ab") == pictures.width("한") == 2
    assert pictures.width("e\u0301") == 1
    assert pictures.wrapped([("한" * 40, True), ("글" * 40, True)]) == [[("한" * 40, True)], [("글" * 40, True)]]
