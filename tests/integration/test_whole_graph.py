"""The whole graph by `phi run`, on a model of two layers and 150 conversations: real runs, servers and Prompt flow.

It ends with two versions, between which `phi rollback` changes the champion: real runs, registry and card.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.instance import home as homes
from phi_assets.instance import runs, server
from phi_assets.project import PROJECT
from phi_assets.settings import Settings, read
from tests.support.homes import OWN, Home, made, tiny_home
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


def test_half_of_the_rows_broken_stops_before_training_every_time(home):
    before = home.dataset.read_text(encoding="utf-8")
    home.add(*['{"messages": [{"role": "user"'] * ROWS)
    try:
        first, second = home.phi("run"), home.phi("run")
    finally:
        home.dataset.write_text(before, encoding="utf-8")

    for done in (first, second):
        assert done.returncode == 1
        assert "few_broken_rows" in done.stdout
        assert "fine_tuned_model" not in made(done.stdout)


def test_mended_data_with_more_conversations_and_a_vanished_model_make_what_depends_on_them_again(home):
    (model,) = (home.folder / "home" / "local" / "models").iterdir()
    elsewhere = model.rename(home.folder / "elsewhere")
    assert home.status()["fine_tuned_model"] == "blocked"  # by the failed check of the broken data
    home.add(*OWN.read_text(encoding="utf-8").splitlines()[ROWS : ROWS + 60])

    remade = home.run()

    assert {"chat_dataset", "fine_tuned_model", "model_evaluation", "registered_model", "online_deployment"} <= remade
    assert not remade & {"base_model", "ml_workspace", "training_compute", "training_environment", "online_endpoint"}
    assert home.told("ask", "Hello?")["model_version"] == "2"
    elsewhere.rename(model)  # the rollback below needs it


def settings_of(home: Home) -> Settings:
    return read({name: value for name, value in home.settings.items() if name.startswith("PHI_")})


def states(versions: list[dict]) -> dict[str, str]:
    return {each["model"]["version"]: each["state"] for each in versions}


def listed(home: Home) -> list[dict]:
    return home.told("models")


def answered_by(home: Home) -> str:
    return home.told("ask", "Hello?")["model_version"]


def newest(home: Home, asset: str) -> dg.AssetMaterialization:
    with homes.instance(settings_of(home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event
    assert event.asset_materialization
    return event.asset_materialization


def card(home: Home) -> str:
    address = newest(home, "model_card").metadata["address"].value
    return Path(str(address)).read_text(encoding="utf-8")


def test_of_two_versions_the_newer_is_champion_and_its_card_lies_beside_it(home):
    versions = listed(home)
    assert states(versions) == {"1": "former", "2": "champion"}
    model = versions[0]["model"]
    assert "version 2" in card(home)
    assert model["dataset_digest"] in card(home)
    assert Path(model["address"], "loss_curve.png").is_file()
    assert "![Evaluation](evaluation.png)" in card(home)


@pytest.mark.documented("phi rollback --reason")
def test_a_rollback_brings_the_former_champion_back_and_says_who_answers(home):
    done = home.phi("rollback", "--reason", "it is rude")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"answers now +phi-chat 1,", done.stdout)
    assert answered_by(home) == "1"
    versions = listed(home)
    assert states(versions) == {"1": "champion", "2": "withdrawn"}
    assert versions[0]["withdrawn"] == "it is rude"
    metadata = newest(home, "registered_model").metadata
    assert [metadata[name].value for name in ("action", "reason", "from_version", "to_version", "withdrawn")] == [
        "rollback",
        "it is rude",
        "2",
        "1",
        "2: it is rude",
    ]
    assert "version 1" in card(home)


def test_a_run_afterwards_makes_nothing_and_leaves_it_so(home):
    assert home.run() == set()
    assert set(home.status().values()) == {"fresh"}
    assert answered_by(home) == "1"


def test_the_gate_asked_again_does_not_bring_the_withdrawn_one_back(home):
    from dagster_graphql import DagsterGraphQLClient

    client = DagsterGraphQLClient("127.0.0.1", port_number=int(home.ui().rpartition(":")[2]))
    run_id = client.submit_job_execution("everything", asset_selection=["registered_model"])
    said: list[str] = []
    with homes.instance(settings_of(home)) as instance:
        assert runs.follow(instance, run_id, lambda _, words: said.append(words)).ended_well

    assert any("withdrawn: it is rude. Version 1 stays champion" in words for words in said)
    assert states(listed(home)) == {"1": "champion", "2": "withdrawn"}


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
