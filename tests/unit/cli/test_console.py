"""Texts are made safe, wrapped and shortened by their width on a terminal."""

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import unicodedata
from contextlib import redirect_stdout

import pytest
from rich.cells import cell_len

from phi_assets.cli.console import print_json, print_text, say, shortened, terminal_width, wrapped
from phi_assets.plain_text import plain_text
from phi_assets.project import PROJECT
from tests.support.hostile_texts import HOSTILE, dangerous
from tests.unit.cli.conftest import Screen

INVISIBLE = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs"}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[/INST] [bold] \\[x]", "[/INST] [bold] \\[x]"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m \x7f \x00", "\\x9b31m \\x7f \\x00"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud83d", "\\ud83d"),
        ("a\u2028b", "a\\u2028b"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("a\u200db", "a\\u200db"),
        ("👩\u200d🔬 क्\u200dष", "👩\u200d🔬 क्\u200dष"),
        ("e\u0301 日本", "e\u0301 日本"),
        ("a\r\nb\rc\nd\te", "a b c d e"),
    ],
)
def test_a_text_is_shown_without_what_a_terminal_obeys(text: str, shown: str):
    assert plain_text(text) == shown


def test_lines_stay_where_they_are_wanted():
    assert plain_text("a\r\nb\rc\nd\te\x0b", lines=True) == "a\nb\nc\nd   e\\x0b"


def test_every_invisible_character_of_unicode_becomes_visible():
    assert len(INVISIBLE) > 2000
    assert [each for each in INVISIBLE if dangerous(plain_text(f"a{each}b", lines=True))] == []


@pytest.mark.parametrize("width", [1, 2, 10, 80])
def test_a_text_fits_its_width(width: int):
    for kind, text in HOSTILE.items():
        safe = plain_text(text)
        assert cell_len(shortened(safe, width)) <= width, kind
        if width > 1:  # a character may have two cells
            assert max(map(cell_len, wrapped(safe, width, chop=True))) <= width, kind


def test_lines_break_between_words_and_an_address_stays_whole():
    address = "http://127.0.0.1:3000/runs/2892d40a-ab50-40f2"

    assert wrapped(f"live on {address} now", 20) == ["live on", address, "now"]


def test_progress_is_indented_under_its_message(terminal: Screen):
    first, second = terminal.of(say, "chat_flow_evaluation", "check " * 10 + "of " * 3).splitlines()

    assert first[8:].startswith(" chat_flow_evaluation   check check")
    assert second.startswith(" " * 32 + "check")


def test_progress_without_words_prints_nothing(screen: Screen):
    assert screen.of(say, "run", " \n") == ""


def test_code_in_an_answer_keeps_its_indentation(terminal: Screen):
    code = "for x in y:\n    print(x)  # two  spaces\n\n    return"

    assert terminal.of(print_text, code) == f"{code}\n"


def test_json_reads_back_as_it_was_with_every_invisible_character_escaped(pipe: Screen):
    value = {"texts": list(HOSTILE.values()), "all": " ".join(INVISIBLE)}

    shown = pipe.of(print_json, value)

    assert json.loads(shown) == value
    assert dangerous(shown) == ""
    assert "日本語" in shown


def test_what_an_encoding_lacks_is_escaped_and_json_stays_json():
    program = (
        "from phi_assets.cli import console, main\n"
        "main.main([])\n"
        "console.print_text('日本 …')\n"
        "console.print_json({'a': '日本'})\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)

    _, escaped, as_json = done.stdout.partition("\\u65e5\\u672c \\u2026\n")
    assert escaped
    assert json.loads(as_json) == {"a": "日本"}


def test_the_width_is_that_of_the_terminal():
    """In a real pseudo-terminal, whose width no variable gives."""
    program = "from phi_assets.cli.console import print_text\nprint_text('word ' * 30)"
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    main, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(main, "rb") as screen:
        subprocess.run([sys.executable, "-c", program], cwd=PROJECT, env=environment, stdout=end, check=True)
        os.close(end)
        shown = screen.read1(10_000).decode()

    assert shown == f"{'word ' * 15}word\r\n{'word ' * 13}word\r\n"


def test_a_pipe_has_no_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with redirect_stdout(io.StringIO()):
        assert terminal_width() is None
