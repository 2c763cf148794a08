"""More conversations make a second model version, between which and the first `phi rollback` changes the champion.

Real runs on a model of two layers and 150 conversations, with registry, card and endpoint.
"""

import re
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.instance import home as homes
from phi_assets.instance import runs
from tests.support.homes import OWN, Home, made, settings_of, tiny_home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long,
    pytest.mark.timeout(900),
    # Dagster's own GraphQL client.
    pytest.mark.filterwarnings("ignore:Using variable_values and operation_name:DeprecationWarning"),
]

ROWS = 150


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    own = OWN.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "conversations.jsonl").write_text("".join(own[:ROWS]), encoding="utf-8")
    its = tiny_home(folder, folder / "conversations.jsonl", 3450)
    its.run()
    yield its
    its.phi("down")


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
