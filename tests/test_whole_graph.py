"""The whole graph by `phi run`, on a model of two layers and 150 conversations: real runs, servers and Prompt flow."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from phi_assets.settings import PROJECT
from tests.tiny_models import make_tiny_phi3

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

OWN = PROJECT / "data" / "support" / "conversations.jsonl"
ROWS = 150
PRESET = """
method: full
max_length: 512
packing: true
packed_length: 256
batch_size: 1
accumulation: 1
epochs: 2
learning_rate: 3.0e-3
precision: fp32
"""
ALL = {
    "ml_workspace",
    "training_compute",
    "training_environment",
    "chat_dataset",
    "base_model",
    "fine_tuned_model",
    "model_evaluation",
    "registered_model",
    "online_endpoint",
    "online_deployment",
    "endpoint_connection",
    "chat_flow",
    "chat_flow_evaluation",
}


@dataclass(frozen=True)
class Home:
    """A home, and the `phi` command on it."""

    folder: Path
    settings: dict[str, str]

    def phi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.settings}
        command = [sys.executable, "-m", "phi_assets.cli", *arguments]
        return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)

    def run(self) -> set[str]:
        """The assets that `phi run` made; it must end well."""
        done = self.phi("run")
        assert done.returncode == 0, done.stdout + done.stderr
        return made(done.stdout)

    def status(self) -> dict[str, str]:
        found = json.loads(self.phi("status", "--json").stdout)
        return {asset["name"]: asset["status"] for asset in found["assets"] if asset["status"] != "observed"}

    @property
    def dataset(self) -> Path:
        return self.folder / "conversations.jsonl"

    def add(self, *lines: str) -> None:
        with self.dataset.open("a", encoding="utf-8") as handle:
            handle.writelines(f"{line}\n" for line in lines)


def made(output: str) -> set[str]:
    """The assets of the outcome table that were materialised."""
    cells = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in output.splitlines() if "│" in line]
    return {row[0] for row in cells if len(row) > 1 and row[1] == "materialised"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    own = OWN.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "conversations.jsonl").write_text("".join(own[:ROWS]), encoding="utf-8")
    (folder / "tiny.yaml").write_text(PRESET, encoding="utf-8")
    made = Home(
        folder,
        {
            "PHI_HOME": str(folder / "home"),
            "PHI_DATASET": str(folder / "conversations.jsonl"),
            "PHI_BASE_MODEL": str(make_tiny_phi3(folder / "tiny")),
            "PHI_PRESET": str(folder / "tiny.yaml"),
            "PHI_PROMOTE_ON_INSUFFICIENT_EVIDENCE": "true",
            "PHI_UI_PORT": "3400",
            "COLUMNS": "200",
        },
    )
    yield made
    made.phi("down")


def test_the_first_run_makes_every_asset(home):
    assert home.run() == ALL
    assert set(home.status().values()) == {"fresh"}


def test_a_second_run_makes_nothing_and_says_so(home):
    done = home.phi("run")

    assert done.returncode == 0
    assert made(done.stdout) == set()
    assert "nothing to do: every asset is up to date" in done.stdout


def test_the_endpoint_answers_and_says_what_is_behind_the_answer(home):
    answer = json.loads(home.phi("ask", "Hello?", "--json").stdout)

    assert answer["model"] == "phi-chat"
    assert answer["model_version"] == "1"
    assert answer["deployment"] in ("blue", "green")
    assert answer["dataset_digest"]
    assert answer["dagster_run"]


def test_the_base_model_can_be_asked_too(home):
    assert json.loads(home.phi("ask", "Hello?", "--base", "--json").stdout)["model"].endswith("tiny")


def test_servers_that_were_stopped_come_back_without_making_anything(home):
    assert home.phi("down").returncode == 0
    refused = home.phi("ask", "Hello?")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.strip().splitlines()) == 1

    assert home.run() == set()

    assert home.phi("ask", "Hello?").returncode == 0


def test_an_artefact_that_vanished_is_made_again(home):
    (model,) = (home.folder / "home" / "local" / "models").iterdir()
    shutil.rmtree(model)
    assert home.status()["fine_tuned_model"] == "missing"

    assert "fine_tuned_model" in home.run()

    assert model.is_dir()
    assert set(home.status().values()) == {"fresh"}


def test_more_conversations_make_the_dataset_and_what_depends_on_it_again(home):
    home.add(*OWN.read_text(encoding="utf-8").splitlines()[ROWS:])

    remade = home.run()

    assert {"chat_dataset", "fine_tuned_model", "model_evaluation", "registered_model", "online_deployment"} <= remade
    assert not remade & {"base_model", "ml_workspace", "training_compute", "training_environment", "online_endpoint"}
    assert json.loads(home.phi("ask", "Hello?", "--json").stdout)["model_version"] == "2"


def test_half_of_the_rows_broken_stops_before_training_every_time(home):
    before = home.dataset.read_text(encoding="utf-8")
    home.add(*['{"messages": [{"role": "user"'] * 400)
    try:
        first, second = home.phi("run"), home.phi("run")
    finally:
        home.dataset.write_text(before, encoding="utf-8")

    for done in (first, second):
        assert done.returncode == 1
        assert "few_broken_rows" in done.stdout
        assert "fine_tuned_model" not in made(done.stdout)


def test_when_the_data_is_mended_the_run_ends_well_again(home):
    assert "fine_tuned_model" not in home.run()


def test_a_second_run_at_the_same_time_is_refused(home):
    environment = {**os.environ, **home.settings}
    command = [sys.executable, "-m", "phi_assets.cli", "run"]
    first = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    assert first.stdout
    first.stdout.readline()  # it has the lock

    second = home.phi("run")
    first.communicate()

    assert (first.returncode, second.returncode) == (0, 1)
    assert "another `phi run`" in second.stderr
