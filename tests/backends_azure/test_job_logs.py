"""A job's lines: whole, in order, and said once although they come by two ways."""

import random
import re

import pytest

from phi_assets.backends.azure.job_logs import Said, Tail
from phi_assets.backends.azure.job_names import job_name, recipe
from phi_assets.backends.azure.job_watch import ENDED, WAITING


class Growing:
    """A text that grows, read from a place on."""

    def __init__(self) -> None:
        self.content = b""

    def read(self, start: int) -> bytes:
        return self.content[start:]


@pytest.mark.parametrize("seed", range(5))
def test_lines_come_whole_however_the_text_grows(seed: int):
    text = "one\nzwölf\n\nthree 🙂\nfour".encode()
    growing, draw, seen = Growing(), random.Random(seed), []
    tail = Tail(growing.read)
    while len(growing.content) < len(text):
        growing.content = text[: len(growing.content) + draw.randint(1, 4)]
        seen += tail.lines()
    assert seen == ["one", "zwölf", "", "three 🙂"]
    assert list(tail.lines(over=True)) == ["four"]
    assert list(tail.lines(over=True)) == []


def test_of_a_progress_bar_its_last_state_is_shown():
    growing = Growing()
    growing.content = b"10%\r50%\r100%\n"
    assert list(Tail(growing.read).lines()) == ["100%"]


def test_a_line_that_comes_by_two_ways_is_said_once_and_a_repeated_one_as_often_as_it_was_said():
    lines: list[str] = []
    said = Said(lines.append)
    for way, text in [
        ("pipes", "a"),
        ("stdout", "a"),
        ("stdout", "b"),
        ("stdout", "a"),
        ("pipes", "b"),
        ("pipes", "a"),
    ]:
        said.line(way, text)
    assert lines == ["a", "b", "a"]


def test_a_job_s_name_says_what_it_computes_and_fits_azure_ml():
    name = job_name("train", recipe("data", "base", "code", "preset"), 12)
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}", name)
    assert name == job_name("train", recipe("data", "base", "code", "preset"), 12)
    assert name != job_name("train", recipe("data", "base", "code", "other"), 12)
    assert recipe("ab", "c") != recipe("a", "bc")


def test_no_state_of_waiting_is_one_of_having_ended():
    assert not ENDED & WAITING
