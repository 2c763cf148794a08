"""The whole graph by `phi run`, on a model of two layers and 150 conversations: real runs, servers and Prompt flow."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from phi_assets.settings import PROJECT
from tests.homes import OWN, made, tiny_home

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROWS = 150
ALL = {
    "ml_workspace",
    "training_compute",
    "training_environment",
    "chat_dataset",
    "base_model",
    "fine_tuned_model",
    "model_evaluation",
    "registered_model",
    "model_card",
    "online_endpoint",
    "online_deployment",
    "endpoint_connection",
    "chat_flow",
    "chat_flow_evaluation",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    own = OWN.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "conversations.jsonl").write_text("".join(own[:ROWS]), encoding="utf-8")
    its = tiny_home(folder, folder / "conversations.jsonl", 3400)
    yield its
    its.phi("down")


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
