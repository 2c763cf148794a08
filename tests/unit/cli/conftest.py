"""Commands in this process, with a home of their own and the output of a pipe or of a terminal of 80 columns."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

from phi_assets.cli.main import main
from phi_assets.settings import current


class Stream(io.TextIOWrapper):
    """A stream in UTF-8, of a terminal or of a pipe."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class Screen:
    """Runs commands whose stdout and stderr are one terminal, or one pipe, and returns what they wrote."""

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self.status: Any = None

    def phi(self, *arguments: str) -> str:
        return self.of(main, arguments)

    def of(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> str:
        stream = Stream(terminal=self.terminal)
        with redirect_stdout(stream), redirect_stderr(stream):
            self.status = function(*arguments, **named)
        return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


@pytest.fixture
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[None]:
    """The commands' home is a new folder, times are in UTC, and a terminal has 80 columns and no colours."""
    with monkeypatch.context() as patched:
        given = {"PHI_HOME": str(tmp_path / "home"), "TZ": "UTC", "COLUMNS": "80", "NO_COLOR": "1", "TERM": "xterm"}
        for name, value in given.items():
            patched.setenv(name, value)
        time.tzset()
        current.cache_clear()
        yield
    current.cache_clear()
    time.tzset()


@pytest.fixture
def pipe(own_home) -> Screen:
    return Screen(terminal=False)


@pytest.fixture
def terminal(own_home) -> Screen:
    return Screen(terminal=True)


@pytest.fixture(params=["terminal", "pipe"])
def screen(request: pytest.FixtureRequest) -> Screen:
    return request.getfixturevalue(request.param)
