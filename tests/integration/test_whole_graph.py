"""The whole graph by `phi run`, on a model of two layers and 150 conversations: real runs, servers and Prompt flow."""

import json
import os
import subprocess
import sys

import pytest

from phi_assets.instance import runs, server
from phi_assets.project import PROJECT
from tests.support.homes import OWN, made, settings_of, tiny_home
from tests.support.project_copy import MADE, run_in, with_own_definitions

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    # Dagster's own GraphQL client.
    pytest.mark.filterwarnings("ignore:Using variable_values and operation_name:DeprecationWarning"),
]

ROWS = 150
MAIN = "phi_assets.cli.main"
ALL = {
    "ml_workspace",
    "training_compute",
    "training_environment",
    "chat_dataset",
    "base_model",
    "replay_conversations",
    "fine_tuned_model",
    "model_evaluation",
    "registered_model",
    "model_card",
    "online_endpoint",
    "online_deployment",
    "chat_app",
    "feedback_candidates",
    "feedback_conversations",
    "endpoint_connection",
    "chat_flow",
    "chat_flow_evaluation",
    "agent_evaluation",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    own = OWN.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "conversations.jsonl").write_text("".join(own[:ROWS]), encoding="utf-8")
    its = tiny_home(folder, folder / "conversations.jsonl", 3400)
    yield its
    its.phi("down")


@pytest.fixture
def made_home(home):
    """The home, of which a test that runs alone makes every asset first."""
    if not (home.folder / "home" / "local" / "records" / "chat_flow_evaluation.json").exists():
        home.run()
    return home


@pytest.mark.documented("phi run", "PHI_DATASET PHI_HOME phi run")
def test_the_first_run_makes_every_asset(home):
    assert home.run() == ALL
    assert set(home.status().values()) == {"fresh"}


def test_the_endpoint_answers_and_says_what_is_behind_the_answer(home):
    answer = home.told("ask", "Hello?")

    assert answer["model"] == "phi-chat"
    assert answer["model_version"] == "1"
    assert answer["deployment"] in ("blue", "green")
    assert answer["dataset_digest"]
    assert answer["dagster_run"]


@pytest.mark.documented("phi ask --base")
def test_the_base_model_can_be_asked_too(home):
    assert home.told("ask", "Hello?", "--base")["model"].endswith("tiny")


@pytest.mark.documented("phi run", "phi ask", "phi down")
def test_a_second_run_brings_stopped_servers_back_makes_nothing_and_lets_no_other_run_in(home):
    assert home.phi("down").returncode == 0
    refused = home.phi("ask", "Hello?")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.strip().splitlines()) == 1

    command = [sys.executable, "-m", "phi_assets.cli.main", "run"]
    environment = {**os.environ, **home.settings}
    second = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    assert second.stdout
    second.stdout.readline()  # it has the lock
    other = home.phi("run")
    said, _ = second.communicate()

    assert (second.returncode, other.returncode) == (0, 1)
    assert "another `phi run`" in other.stderr
    assert made(said) == set()
    assert "nothing to do: every asset is up to date" in said
    assert home.phi("ask", "Hello?").returncode == 0


@pytest.mark.long
def test_what_a_user_adds_is_shown_and_made(made_home, tmp_path):
    home = made_home
    project = with_own_definitions(tmp_path / "project")

    status = json.loads(run_in(project, "-m", MAIN, "status", "--json", environment=home.settings).stdout)
    assert {asset["name"] for asset in status["assets"] if asset["status"] == "missing"} == MADE
    assert set(status["would_run"]) == MADE

    done = run_in(project, "-m", MAIN, "run", environment=home.settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert made(done.stdout) == MADE

    again = run_in(project, "-m", MAIN, "run", environment=home.settings)
    assert made(again.stdout) == set()


@pytest.mark.long
def test_records_that_cannot_be_read_are_stored_again_and_nothing_is_made(made_home):
    home = made_home
    records = home.folder / "home" / "local" / "records"
    whole = {
        name: (records / f"{name}.json").read_text("utf-8") for name in ("ml_workspace", "model_card", "chat_flow")
    }
    (records / "ml_workspace.json").write_text(whole["ml_workspace"][:50], encoding="utf-8")
    (records / "model_card.json").write_text(whole["model_card"].replace('"address"', '"url"'), encoding="utf-8")
    (records / "chat_flow.json").write_text(whole["chat_flow"].replace("FlowPackage", "Unicorn"), encoding="utf-8")

    assert set(home.status().values()) == {"fresh"}  # what was made is still there

    assert home.run() == set()

    for name, text in whole.items():
        assert json.loads((records / f"{name}.json").read_text("utf-8")) == json.loads(text)
        assert list(records.glob(f"{name}.json.*"))  # the damaged one was set aside


def test_a_run_that_dagster_refuses_is_an_error_with_a_place_to_look(home):
    ui = server.find(settings_of(home))
    assert ui

    with pytest.raises(server.DagsterNotReady, match=r"Dagster refused a run of job .* with no_such_asset .*/loc"):
        runs.submit(ui, "everything", ["no_such_asset"])
