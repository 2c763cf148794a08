"""No text of a user or a model reaches the terminal as markup or as a control code, whatever command prints it."""

import json

import pytest

from phi_assets.cli.console import say
from phi_assets.cli.main import _print_bug
from tests.support.hostile_texts import HOSTILE, LONG, dangerous
from tests.support.made_up_commands import Commands, an_answer
from tests.unit.cli.conftest import Screen

NAME, DIGEST, ID = "chat_flow_evaluation", "0123456789ab", f"chatcmpl-{'0' * 32}"

COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "status": (("status",), NAME),
    "run": (("run",), NAME),
    "ask": (("ask", "Who?"), ID),
    "ask --base": (("ask", "--base", "Who?"), "phi:"),
    "why": (("why", "--last"), ID),
    "answers": (("answers",), ID),
    "models": (("models",), DIGEST),
    "experiments": (("experiments",), DIGEST),
    "promote": (("promote", "1"), "registered_model"),
    "rollback": (("rollback",), "registered_model"),
    "preflight": (("preflight",), "problem"),
    "cost": (("cost",), "this month"),
    "teardown": (("teardown", "--yes"), "teardown"),
    "down": (("down",), "endpoint"),
    "notify": (("notify", "--test"), "not received"),
}
WITH_JSON = ("status", "ask", "why", "answers", "models", "experiments", "preflight", "cost")


@pytest.fixture
def made_up(monkeypatch, tmp_path) -> Commands:
    return Commands(monkeypatch, tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_a_control_code_or_breaks_a_name(screen: Screen, made_up: Commands, command: str):
    arguments, name = COMMANDS[command]
    for kind, text in HOSTILE.items():
        made_up.everything(text)

        shown = screen.phi(*arguments)

        assert dangerous(shown) == "", kind
        assert name in shown or not text.strip(), kind


def test_an_error_of_a_run_is_printed_without_a_control_code(screen: Screen, made_up: Commands):
    made_up.fails = True
    for kind, text in HOSTILE.items():
        made_up.everything(text)

        shown = screen.phi("run")

        assert screen.status == 1
        assert dangerous(shown) == "", kind
        assert f"  {NAME}:" in shown


def test_what_was_typed_is_printed_without_a_control_code(screen: Screen):
    for kind, text in HOSTILE.items():
        typed = text[:200]  # click compares it with each command
        for arguments in ([typed], ["status", typed], [f"--{typed}"], ["answers", "-n", typed], ["completion", typed]):
            assert dangerous(screen.phi(*arguments)) == "", kind


def test_progress_is_printed_without_a_control_code(screen: Screen):
    for kind, text in HOSTILE.items():
        assert dangerous(screen.of(say, text[:200], text)) == "", kind


@pytest.mark.parametrize("command", WITH_JSON)
def test_json_has_the_text_itself_and_no_control_code(pipe: Screen, made_up: Commands, command: str):
    for kind, text in HOSTILE.items():
        made_up.everything(text)

        shown = pipe.phi(*COMMANDS[command][0], "--json")

        assert dangerous(shown) == "", kind
        assert text in _texts(json.loads(shown)) or not text, kind


def test_a_long_text_is_cut_in_a_table_on_a_terminal(terminal: Screen, made_up: Commands):
    made_up.answers([an_answer(ID, "word " * 2000, "x" * LONG)])

    lines = terminal.phi("answers").splitlines()

    assert len(lines) == 10  # title, header, row, three lines of each text, and an empty one
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.endswith("…")]) == 2


def test_a_long_text_is_complete_in_a_pipe_and_its_row_is_one_line(pipe: Screen, made_up: Commands):
    made_up.everything("x" * LONG)

    title, header, row, empty = pipe.phi("answers").split("\n")[:4]

    assert row.endswith(f"  {'x' * LONG}  {'x' * LONG}")
    assert (title, header.split()[0], empty) == ("answers, the newest first", "id", "")


def test_markup_is_printed_as_it_was_written(screen: Screen, made_up: Commands):
    for kind in ("closing tag", "backslashes before brackets", "markup"):
        made_up.everything(HOSTILE[kind])

        assert screen.phi("ask", "Who?").startswith(HOSTILE[kind])


def test_an_answer_keeps_its_lines_and_the_rest_is_escaped(screen: Screen, made_up: Commands):
    made_up.everything("def f():\n\treturn 1\x1b[2J\r\n\r\ndone\u202e")

    assert screen.phi("ask", "Who?").startswith("def f():\n    return 1\\x1b[2J\n\ndone\\u202e\n")


def test_the_message_of_a_bug_is_escaped_too(screen: Screen):
    error = RuntimeError("\x1b[31m\u202e")

    assert screen.of(_print_bug, RuntimeError, error, None) == "RuntimeError: \\x1b[31m\\u202e\n"


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []
