"""The champion changed by hand, by `phi` on a home of its own: real runs, servers, registry and card."""

import json
import re
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.operate import home as homes
from phi_assets.settings import Settings, read
from tests.homes import OWN, Home, tiny_home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    # Dagster's own GraphQL client.
    pytest.mark.filterwarnings("ignore:Using variable_values and operation_name:DeprecationWarning"),
]

ROWS = 150


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two versions, the second of them champion."""
    folder = tmp_path_factory.mktemp("home")
    own = OWN.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "conversations.jsonl").write_text("".join(own[:ROWS]), encoding="utf-8")
    its = tiny_home(folder, folder / "conversations.jsonl", 4200)
    its.settings["PHI_AUTOMATION"] = "off"
    try:
        its.run()
        its.add(*OWN.read_text(encoding="utf-8").splitlines()[ROWS : ROWS + 30])
        assert "registered_model" in its.run()
        yield its
    finally:
        its.phi("down")


def settings_of(home: Home) -> Settings:
    return read({name: value for name, value in home.settings.items() if name.startswith("PHI_")})


def states(home: Home) -> dict[str, str]:
    return {each["model"]["version"]: each["state"] for each in listed(home)}


def listed(home: Home) -> list[dict]:
    return json.loads(home.phi("models", "--json").stdout)


def answered_by(home: Home) -> str:
    return json.loads(home.phi("ask", "Hello?", "--json").stdout)["model_version"]


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
    assert states(home) == {"1": "former", "2": "champion"}
    assert answered_by(home) == "2"
    model = listed(home)[0]["model"]
    assert "version 2" in card(home)
    assert model["dataset_digest"] in card(home)
    assert Path(model["address"], "loss_curve.png").is_file()
    assert "![Evaluation](evaluation.png)" in card(home)


def test_a_rollback_brings_the_former_champion_back_and_says_who_answers(home):
    done = home.phi("rollback", "--reason", "it is rude")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"answers now +phi-chat 1,", done.stdout)
    assert answered_by(home) == "1"
    assert states(home) == {"1": "champion", "2": "withdrawn"}
    assert listed(home)[0]["withdrawn"] == "it is rude"
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

    from phi_assets.operate import runs

    client = DagsterGraphQLClient("127.0.0.1", port_number=int(home.ui().rpartition(":")[2]))
    run_id = client.submit_job_execution("everything", asset_selection=["registered_model"])
    said: list[str] = []
    with homes.instance(settings_of(home)) as instance:
        assert runs.follow(instance, run_id, lambda _, words: said.append(words)).ended_well

    assert any("withdrawn: it is rude. Version 1 stays champion" in words for words in said)
    assert states(home) == {"1": "champion", "2": "withdrawn"}


def test_there_is_nobody_to_go_back_to_and_the_present_champion_goes_on(home):
    done = home.phi("rollback")

    assert done.returncode == 1
    assert "there is no former champion to go back to; take one back with `phi promote`: 2" in done.stdout
    assert states(home)["1"] == "champion"
    assert answered_by(home) == "1"


def test_a_version_that_does_not_exist_is_refused_with_those_that_do(home):
    done = home.phi("promote", "9")

    assert done.returncode == 1
    assert "there is no version '9'; there are: 1, 2" in done.stdout


def test_a_version_promoted_by_hand_answers_and_the_other_is_withdrawn(home):
    done = home.phi("promote", "2", "--reason", "it was not rude")

    assert done.returncode == 0, done.stdout + done.stderr
    assert answered_by(home) == "2"
    assert states(home) == {"1": "withdrawn", "2": "champion"}
    assert listed(home)[1]["withdrawn"] == "replaced by hand by version 2: it was not rude"
    assert home.run() == set()
