"""Every command line of the README and the tutorials is proven by a test; those of other pages are written correctly.

A test names the commands that it runs by `@pytest.mark.documented("phi ask --base")`: a command without the values of
its arguments and options, preceded by the names of the settings that it is given. A make target counts as what it runs.
A test may add `--json`, which changes only the form of the output.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import click
import pytest

from azure_emulator.identity import az_login
from azure_emulator.identity.identities import SUBSCRIPTION
from phi_assets.cli.main import main, phi
from phi_assets.project import PROJECT
from phi_assets.settings import INTERNAL, PREFIX, Settings
from tests.support.homes import OWN, made, settings_of_its_own, tiny_home

FOLLOWED = [PROJECT / "README.md", *sorted((PROJECT / "docs/tutorials").glob("*.md"))]
OTHERS = [PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs/how-to").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(sh|bash|console)\n(.*?)^ *```$", re.M | re.S)
COMMENT = re.compile(r"\s+#\s.*$")
MAKE = {
    "make run": "phi run",
    "make dev": "phi dev",
    "make down": "phi down",
    "make azure-local": "python -m tests.support.azure_local run",
    "make azure-local-down": "python -m tests.support.azure_local down",
}


def commands(path: Path) -> list[str]:
    """Return the command lines of the page's fenced blocks; of a console block those behind a prompt."""
    found = []
    for _, language, block in BLOCK.findall(path.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if language != "console" or line.startswith("$ "):
                found.append(COMMENT.sub("", line.strip().removeprefix("$ ")))
    return [line for line in found if line]


def form(line: str) -> str:
    """Return a command without values: the names of its settings, its command, and its options."""
    words = shlex.split(line)
    given = []
    while words and re.match(r"\w+=", words[0]):
        given.append(words.pop(0).partition("=")[0])
    words[0] = words[0].removeprefix(".venv/bin/")
    if words[0] == "phi":
        words = words[:2] + sorted(word.partition("=")[0] for word in words[2:] if word.startswith("-"))
    elif words[0] == "make":
        words = MAKE.get(" ".join(words), " ".join(words)).split()
    return " ".join([*sorted(given), *words])


@cache
def proven() -> dict[str, set[str]]:
    """Return the tests, as file::function, that name each form of a command."""
    found: dict[str, set[str]] = {}
    for path in [*(PROJECT / "tests").rglob("test_*.py"), *(PROJECT / "azure_emulator/tests").rglob("test_*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.documented":
                    for argument in decorator.args:
                        name = f"{path.relative_to(PROJECT)}::{node.name}"
                        found.setdefault(ast.literal_eval(argument), set()).add(name)
    return found


def in_the_pages() -> set[str]:
    return {form(line) for path in FOLLOWED for line in commands(path)}


@pytest.mark.parametrize("path", FOLLOWED, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_every_command_is_run_by_a_test(path):
    assert [line for line in commands(path) if form(line) not in proven()] == []


def test_every_command_that_a_test_names_is_on_a_page():
    assert [name for name in proven() if name not in in_the_pages()] == []


@pytest.mark.parametrize("path", [*FOLLOWED, *OTHERS], ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_every_command_parses_and_every_setting_and_target_exists(path):
    text = path.read_text(encoding="utf-8")
    targets = {line.partition(":")[0] for line in (PROJECT / "Makefile").read_text("utf-8").splitlines() if ":" in line}
    settings = {PREFIX + name.upper() for name in Settings.model_fields} | INTERNAL

    assert {
        name for name in re.findall(r"`make ([\w-]+)|^ *make ([\w-]+)", text, re.M) for name in name if name
    } <= targets
    assert {name.rstrip("_") for name in re.findall(r"PHI_[A-Z_]*[A-Z]\b(?!\*)", text)} <= settings
    for line in [*commands(path), *re.findall(r"`(phi [^`]+)`", text)]:
        words = [word for word in shlex.split(re.sub(r"<[^>]*>", "value", line)) if not re.match(r"PHI_\w+=", word)]
        if words and words[0].removeprefix(".venv/bin/") == "phi" and len(words) > 1:
            parse(words[1:])


def parse(words: list[str]) -> None:
    """Let click parse the command's words without running it. Raises click.UsageError."""
    if words[0].startswith("-"):
        assert words[0] in {name for option in phi.get_params(click.Context(phi)) for name in option.opts}, words
        return
    name, command, rest = phi.resolve_command(click.Context(phi, info_name="phi"), list(words))
    assert command
    with suppress(click.MissingParameter):  # prose such as "`phi promote`" names the command only
        command.make_context(name, rest, parent=click.Context(phi, info_name="phi"))


@pytest.mark.parametrize(("target", "runs"), MAKE.items())
def test_a_make_target_runs_what_it_counts_as(target, runs):
    # Under `make test`, an inner make would print the folder that it leaves, too.
    command = ["make", "--dry-run", "--no-print-directory", *target.split()[1:]]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)

    assert done.stdout.rstrip().endswith(f".venv/bin/{runs}")


@pytest.fixture
def empty_home(tmp_path):
    with settings_of_its_own({"PHI_HOME": str(tmp_path / "home")}):
        yield


@pytest.mark.documented("phi status", "phi models")
@pytest.mark.parametrize(("command", "status", "says"), [("status", 1, "fine_tuned_model"), ("models", 0, "no ")])
def test_what_only_reads_works_before_anything_was_made(empty_home, capsys, command, status, says):
    assert main([command]) == status
    assert says in capsys.readouterr().out


def bash(folder: Path, script: str) -> str:
    done = subprocess.run(["bash", "-ec", script], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.documented("cp data/new_product/conversations.jsonl .phi/inbox/", "cp .env.example .env")
def test_a_copied_file_lies_where_it_is_read(tmp_path):
    """The inbox is the default one, in the project's folder. What follows is in test_automation_real_model.py."""
    (tmp_path / "data").symlink_to(PROJECT / "data")
    (tmp_path / ".env.example").symlink_to(PROJECT / ".env.example")
    (tmp_path / Settings.model_fields["home"].default / Settings.model_fields["inbox"].default).mkdir(parents=True)

    bash(tmp_path, "cp data/new_product/conversations.jsonl .phi/inbox/\ncp .env.example .env")

    assert (tmp_path / ".phi/inbox/conversations.jsonl").read_text("utf-8").count("\n") == 50
    assert (tmp_path / ".env").read_text("utf-8").startswith("# Copy to .env")


@pytest.mark.documented("source .venv/bin/activate")
def test_activating_the_environment_puts_its_programs_on_the_path(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True)

    assert bash(tmp_path, "source .venv/bin/activate\ncommand -v python").strip() == str(tmp_path / ".venv/bin/python")


@pytest.mark.documented("python -m tests.support.azure_local down")
def test_stopping_a_local_azure_that_is_not_there_is_no_error(tmp_path):
    environment = {**os.environ, "PHI_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "tests.support.azure_local", "down"]

    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)

    assert "was not running" in done.stdout


@pytest.mark.documented("az login", "az account list -o table")
def test_the_azure_cli_signs_in_and_lists_the_subscription(tmp_path):
    """The stub of the Azure CLI, which takes the words that the tests of the project need and refuses others."""
    az_login.install(tmp_path)

    said = bash(tmp_path, "export PATH=$PWD/bin:$PATH\naz logout\naz login\naz account list -o table")

    assert SUBSCRIPTION in said


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.azure
@pytest.mark.timeout(1200)
@pytest.mark.documented("python -m tests.support.azure_local run")
def test_the_local_azure_is_started_and_the_whole_graph_made_in_it(tmp_path):
    dataset = tmp_path / "conversations.jsonl"
    dataset.write_text("".join(OWN.read_text(encoding="utf-8").splitlines(keepends=True)[:150]), encoding="utf-8")
    environment = {**os.environ, **tiny_home(tmp_path, dataset, 3990).settings}
    command = [sys.executable, "-m", "tests.support.azure_local"]

    try:
        done = subprocess.run([*command, "run"], cwd=PROJECT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {"resource_group", "registered_model", "online_deployment"} <= made(done.stdout)
    finally:
        subprocess.run([*command, "down"], cwd=PROJECT, env=environment, check=True)


@pytest.mark.documented("make install")
def test_make_install_is_what_the_checks_begin_with():
    """`.ci/run` begins with `make check`, which needs the same environment on a clean machine."""
    rules = (PROJECT / "Makefile").read_text(encoding="utf-8")

    (install,) = re.findall(r"^install: (\S+)", rules, re.M)
    (check,) = re.findall(r"^check: (\S+)", rules, re.M)
    assert install == check
