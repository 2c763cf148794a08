"""The help has examples that parse, a mistyped word is answered with the nearest, and neither loads Dagster."""

import json
import os
import shlex
import subprocess
import sys

import click
import pytest

from phi_assets.cli.commands import Command, Commands
from phi_assets.cli.main import phi
from phi_assets.project import PROJECT
from tests.unit.cli.conftest import Screen

HEAVY = ("dagster", "mlflow", "torch", "transformers", "azure", "promptflow", "pydantic", "rich", "httpx", "psutil")


def commands() -> list[tuple[str, Command | Commands]]:
    found = [("phi", phi), *((name, command) for name, command in phi.commands.items())]
    return [(name, command) for name, command in found if isinstance(command, Command | Commands)]


def parsed(line: str) -> tuple[str, str]:
    """Return the program and the subcommand of an example; click parses it without running it."""
    words = shlex.split(line.partition(" | ")[0].removeprefix('eval "$(').removesuffix(')"'))
    name, command, arguments = phi.resolve_command(click.Context(phi), words[1:])
    assert command is not None
    command.make_context(name, arguments)
    return words[0], str(name)


def loaded_by(program: str, **variables: str) -> set[str]:
    """Return which heavy packages a new process has imported after the program."""
    listing = f"import json, sys\n{program}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", listing],
        cwd=PROJECT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])} & set(HEAVY)


def test_every_command_is_listed_in_a_section():
    assert len(commands()) == len(phi.commands) + 1
    assert [name for name, command in commands() if isinstance(command, Command) and not command.section] == []


@pytest.mark.parametrize(("name", "command"), commands())
def test_the_help_has_an_example_and_every_example_parses(screen: Screen, name: str, command: Command | Commands):
    shown = screen.phi(*([] if name == "phi" else [name]), "--help")

    assert "\nExample" in shown
    assert [example for example in command.examples if f"  {example}\n" not in shown] == []
    called = [parsed(example) for example in command.examples]
    assert {program for program, _ in called} == {"phi"}
    assert name == "phi" or {subcommand for _, subcommand in called} == {name}


def test_the_help_fits_80_columns(terminal: Screen):
    for name, _ in commands():
        lines = terminal.phi(*([] if name == "phi" else [name]), "--help").splitlines()
        assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(["statsu"], "'status'"), (["status", "--jsn"], "'--json'"), (["teardown", "--yse"], "'--yes'")],
)
def test_a_mistyped_word_is_answered_with_the_nearest(screen: Screen, arguments: list[str], nearest: str):
    shown = screen.phi(*arguments)

    assert screen.status == 2
    assert f"Did you mean {nearest}?" in shown


def test_the_version_is_that_of_the_package(pipe: Screen):
    assert pipe.phi("--version").startswith("phi, version 0.")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"], ["--version"], ["completion", "fish"]])
def test_help_loads_nothing_heavy(arguments: list[str]):
    assert loaded_by(f"from phi_assets.cli.main import main\nassert main({arguments}) == 0") == set()
