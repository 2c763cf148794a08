"""A job's log lines: complete, in order, and logged once although two channels deliver them."""

import json
import random
import re
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceResponseError

from phi_assets.backends.azure.client import retry
from phi_assets.backends.azure.jobs.blob_pipes import BlobMessages
from phi_assets.backends.azure.jobs.logs import JobLog, LineLog, Tail
from phi_assets.backends.azure.jobs.spec import job_name, recipe
from phi_assets.backends.azure.jobs.watch import ENDED, WAITING


class Growing:
    """A text that grows, read from a place on."""

    def __init__(self) -> None:
        self.content = b""

    def read(self, start: int) -> bytes:
        return self.content[start:]

    def peek(self, path: str, *, start: int = 0, container: str | None = None) -> bytes:
        return self.read(start)


def message(method: str, **params: Any) -> str:
    """As Dagster Pipes writes it."""
    return json.dumps({"__dagster_pipes_version": "0.1", "method": method, "params": params})


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


@pytest.mark.parametrize("anew", [b"", b"5\n", b"one\n2\n3\n4\n5\n6\n7\n8\n9\n"], ids=["gone", "shorter", "longer"])
def test_a_text_that_began_anew_is_read_from_its_beginning(anew: bytes):
    growing = Growing()
    tail = Tail(growing.read)
    growing.content = b"1\n2\n3\nhal"
    assert list(tail.lines()) == ["1", "2", "3"]
    growing.content = anew
    assert list(tail.lines()) == anew.decode().splitlines()
    growing.content += b"10\n"
    assert list(tail.lines()) == ["10"]


def test_of_a_progress_bar_its_last_state_is_shown():
    growing = Growing()
    growing.content = b"10%\r50%\r100%\n"
    assert list(Tail(growing.read).lines()) == ["100%"]


def test_a_line_that_comes_by_two_ways_is_said_once_and_a_repeated_one_as_often_as_it_was_said():
    lines: list[str] = []
    said = LineLog(lines.append)
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


class Telling:
    """A job's log and its messages, followed as a run does."""

    def __init__(self) -> None:
        self.blob, self.lines, self.handled = Growing(), list[str](), list[dict[str, Any]]()
        said = LineLog(self.lines.append)
        blobs: Any = self.blob
        self.messages = BlobMessages(blobs, "phi-1", said)
        self.messages.handler = SimpleNamespace(handle_message=self.handled.append)
        self.log = JobLog(blobs, "phi-1", said, self.messages.take)


def test_messages_among_a_job_s_lines_are_handled_and_neither_said_nor_kept_as_its_last():
    telling = Telling()
    told = message("log", level="INFO", message="loading")
    progress = message("report_custom_message", payload={"progress": {"step": 1}})
    telling.blob.content = f"loading\n{told}\n 50%|\r100%|{progress}\nerror: no space\n".encode()
    telling.log.follow()
    assert telling.lines == ["loading", "100%|", "error: no space"]
    assert list(telling.log.last) == telling.lines
    assert [each["method"] for each in telling.handled] == ["report_custom_message"]


def test_what_only_looks_like_a_message_is_a_line():
    telling = Telling()
    telling.blob.content = b'{"__dagster_pipes_version": cut\n'
    telling.log.follow()
    assert telling.lines == ['{"__dagster_pipes_version": cut']


@pytest.mark.parametrize(
    "broken", ['{"__dagster_pipes_ver', "[1]", "7", '{"method": "log"}', message("log"), message("log")[:-1] * 2]
)
def test_a_line_that_is_no_message_is_said_and_the_next_one_handled(broken: str):
    telling = Telling()
    telling.blob.content = f"{broken}\n{message('opened')}\n".encode()
    telling.messages.follow()
    assert [each["method"] for each in telling.handled] == ["opened"]
    assert len(telling.lines) == 1
    assert "skipped an invalid message" in telling.lines[0]


def test_the_last_lines_are_asked_for_again_and_given_up_with_a_word(monkeypatch):
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)
    telling = Telling()
    telling.blob.content = b"error: no space"
    problems: list[Exception] = [ServiceResponseError("reset"), ServiceResponseError("reset")]

    def peek(path: str, *, start: int = 0, container: str | None = None) -> bytes:
        if problems:
            raise problems.pop()
        return telling.blob.read(start)

    telling.blob.peek = peek  # type: ignore[method-assign]
    telling.log.follow()
    assert telling.lines == []
    telling.log.follow(over=True)
    assert telling.lines == ["error: no space"]
    problems.append(HttpResponseError("refused"))
    telling.log.follow(over=True)
    assert "the last lines could not be read" in telling.lines[-1]
