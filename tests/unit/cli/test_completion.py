"""Shell completion: the script of each shell, and the words that complete an argument, without loading Dagster."""

import os
import shutil
import subprocess
import sys

import pytest

from phi_assets.answer_log import Answers
from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.cli.completion import _state
from phi_assets.cli.main import phi
from phi_assets.project import PROJECT
from phi_assets.settings import current
from tests.support.made_up_commands import an_answer
from tests.unit.cli.conftest import Screen
from tests.unit.cli.test_help import loaded_by

COMPLETE = """
from phi_assets.cli.main import main
try:
    main([])
except SystemExit:
    pass
"""


def completed(screen: Screen, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """Return the words that complete the last of these words of a command line."""
    monkeypatch.setenv("_PHI_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["phi", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))

    def quit_at_the_end() -> None:
        with pytest.raises(SystemExit):
            phi.main([], prog_name="phi")

    return [line.partition(",")[2] for line in screen.of(quit_at_the_end).splitlines() if line]


@pytest.fixture
def answered(own_home):
    """The home has answers, some of them with an id that a shell would run."""
    kept = Answers(current().state, 90)
    for answer_id in ("chatcmpl-1234", "$(touch pwned)", "x;reboot", "two words", "\x1b[31m"):
        kept.keep(an_answer(answer_id, "Who?", "I."))


def test_completion_reads_the_home_of_the_settings(own_home, monkeypatch):
    assert _state() == current().state
    monkeypatch.delenv("PHI_HOME")
    current.cache_clear()
    assert _state() == current().state


def test_commands_and_options_are_completed(pipe: Screen, monkeypatch):
    assert completed(pipe, monkeypatch, "st") == ["status"]
    assert completed(pipe, monkeypatch, "status", "--j") == ["--json"]
    assert completed(pipe, monkeypatch, "completion", "") == ["bash", "zsh", "fish"]


def test_an_answer_s_id_is_completed_if_a_shell_reads_it_as_one_word(pipe: Screen, answered, monkeypatch):
    assert completed(pipe, monkeypatch, "why", "") == ["chatcmpl-1234"]
    assert completed(pipe, monkeypatch, "why", "chat") == ["chatcmpl-1234"]
    assert completed(pipe, monkeypatch, "why", "other") == []


def test_a_version_is_completed_as_the_registry_was_last_read(pipe: Screen, monkeypatch):
    versions = [
        {"name": "phi-chat", "version": str(number), "source": "", "tags": {"model_digest": "d"}, "created": 0}
        for number in (12, 2, 1)
    ]
    folder = current().state / "mlflow"
    folder.mkdir(parents=True)
    client = type("Client", (), {"search_model_versions": lambda *_: [Listed(each) for each in versions]})
    monkeypatch.setattr(MlflowRegistry, "client", client())
    MlflowRegistry(home=str(folder))._listed()

    assert completed(pipe, monkeypatch, "promote", "") == ["12", "2", "1"]
    assert completed(pipe, monkeypatch, "promote", "1") == ["12", "1"]


class Listed:
    """A model version as MLflow lists it."""

    def __init__(self, fields: dict) -> None:
        self.__dict__.update({**fields, "creation_timestamp": fields["created"]})


def test_nothing_is_completed_in_an_empty_or_damaged_home(pipe: Screen, monkeypatch):
    assert completed(pipe, monkeypatch, "why", "") == []
    assert completed(pipe, monkeypatch, "promote", "") == []
    current().state.mkdir(parents=True, exist_ok=True)
    (current().state / "answers.sqlite").write_bytes(b"no database " * 1000)
    assert completed(pipe, monkeypatch, "why", "") == []


@pytest.mark.parametrize("words", ["st", "why chat", "promote 1"])
def test_completion_loads_no_dagster(answered, words: str):
    variables = {"_PHI_COMPLETE": "bash_complete", "COMP_WORDS": f"phi {words}", "COMP_CWORD": str(len(words.split()))}

    assert loaded_by(COMPLETE, **variables) & {"dagster", "mlflow", "torch", "azure"} == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_accepts(pipe: Screen, shell: str):
    script = pipe.phi("completion", shell)

    assert "_PHI_COMPLETE" in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script, text=True, capture_output=True).stderr == ""


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_a_command(own_home, tmp_path):
    program = tmp_path / "phi"
    program.write_text(
        f'#!/bin/sh\ncd {PROJECT}\nexec {sys.executable} -m phi_assets.cli.main "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    typed = 'eval "$(phi completion bash)"\nCOMP_WORDS=(phi expe)\nCOMP_CWORD=1\n_phi_completion phi\n'
    typed += 'echo "${COMPREPLY[@]}"'
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", typed], env=environment, capture_output=True, text=True)

    assert done.stdout.strip().splitlines()[-1:] == ["experiments"], done.stderr
