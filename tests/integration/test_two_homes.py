"""Two homes that work on one project of the local Azure: what one makes the other finds, and makes nothing again."""

import json
import shutil
from collections import Counter

import pytest

from azure_emulator.process import LocalAzure
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.conversations.grouping import SIDES
from phi_assets.graph.dagster_internals import open_instance
from phi_assets.project import PROJECT
from phi_assets.settings import Settings, read
from tests.integration.test_whole_azure_graph import JOBS, azure_home
from tests.support.homes import Home

pytestmark = [
    pytest.mark.long,
    pytest.mark.azure,
    pytest.mark.integration,
    pytest.mark.timeout(1500),
]

NEW = PROJECT / "data" / "new_product" / "conversations.jsonl"
QUICK = {"PHI_AZURE_CANARY_MINUTES": "0", "PHI_AZURE_REQUEST_SECONDS": "5"}


@pytest.fixture(scope="module")
def first(azure, tmp_path_factory):
    home = azure_home(tmp_path_factory.mktemp("first"), 3740)
    home.settings.update(QUICK)
    try:
        home.run()
        yield home
    finally:
        home.phi("down")


@pytest.fixture(scope="module")
def second(first, tmp_path_factory):
    folder = tmp_path_factory.mktemp("second")
    home = Home(folder, {**first.settings, "PHI_HOME": str(folder / "home"), "PHI_UI_PORT": "3750"})
    yield home
    home.phi("down")


def settings_of(home: Home) -> Settings:
    return read({name: value for name, value in home.settings.items() if name.startswith("PHI_")})


def writes(azure: LocalAzure) -> list[str]:
    found = azure.control.requests(writes_only=True)
    return [f"{each['service']} {each['verb']} {each['path']}" for each in found if each["service"] != "entra"]


def events(home: Home) -> tuple[Counter[str], Counter[str]]:
    """Return how many materialisations of each asset the home's history has: adopted ones, and made ones."""
    adopted, made = Counter[str](), Counter[str]()
    with open_instance(settings_of(home).dagster_home) as instance:
        for key in instance.get_asset_keys():
            for record in instance.fetch_materializations(key, limit=100).records:
                assert record.asset_materialization
                its = adopted if "adopted" in record.asset_materialization.metadata else made
                its[key.to_user_string()] += 1
    return adopted, made


def jobs_of(home: Home) -> set[str]:
    with open_instance(settings_of(home).dagster_home) as instance:
        return {run.job_name for run in instance.get_runs()}


def sides(home: Home) -> dict[str, str]:
    """Return the split of every row of the newest dataset that the home has."""
    root = settings_of(home).state
    digest = json.loads((root / "records" / "chat_dataset.json").read_text())["digest"]
    folder = root / "datasets" / digest
    return {
        json.loads(line)["id"]: side for side in SIDES for line in (folder / f"{side}.jsonl").read_bytes().splitlines()
    }


def test_an_empty_home_finds_everything_writes_nothing_and_starts_no_step(azure, first, second):
    assert len(azure.control.executed_jobs()) == JOBS
    told = second.told("status")
    assert {asset["status"] for asset in told["assets"]} <= {"fresh", "observed", "stale"}
    assert {"fine_tuned_model", "registered_model"} <= set(told["history_differs"])
    azure.control.forget_requests()

    assert second.run() == set()

    assert writes(azure) == []
    assert len(azure.control.executed_jobs()) == JOBS
    adopted, made = events(second)
    assert not made
    assert set(adopted) == set(first.status())
    assert set(adopted.values()) == {1}
    assert jobs_of(second) == {"observe_sources"}
    assert set(second.status().values()) == {"fresh"}
    assert second.told("status")["history_differs"] == []
    assert second.told("models") == first.told("models")
    assert second.told("experiments") == first.told("experiments")


def test_a_second_run_of_it_adopts_nothing_more(azure, second):
    azure.control.forget_requests()

    assert second.run() == set()

    assert writes(azure) == []
    assert set(events(second)[0].values()) == {1}


def test_a_wiped_history_is_adopted_again_and_nothing_is_made(azure, second):
    assert second.phi("down").returncode == 0
    shutil.rmtree(settings_of(second).dagster_home)
    azure.control.forget_requests()

    assert second.run() == set()

    assert writes(azure) == []
    adopted, made = events(second)
    assert (not made, set(adopted.values())) == (True, {1})


def test_what_the_second_home_adds_keeps_the_split_of_every_published_row(azure, first, second):
    before = sides(first)
    WorkspaceBlobs(clients(AzureAccount.of(settings_of(second)).fields), print, 1.0).write(
        "inbox/umbra.jsonl", NEW.read_bytes()
    )

    made = second.run()

    assert {"chat_dataset", "fine_tuned_model", "registered_model", "online_deployment"} <= made
    after = sides(second)
    assert len(after) > len(before)
    assert {row: after[row] for row in before} == before
    assert len(azure.control.executed_jobs()) == 2 * JOBS


def test_the_first_home_sees_the_other_s_champion_and_rolls_it_back(azure, first, second):
    assert [each["state"] for each in first.told("models")] == ["champion", "former"]
    assert "fine_tuned_model" in first.told("status")["history_differs"]
    azure.control.forget_requests()
    assert first.run() == set()
    assert writes(azure) == []
    assert events(first)[0]["fine_tuned_model"] == 1

    assert first.phi("rollback", "--reason", "a test").returncode == 0

    assert [each["state"] for each in second.told("models")] == ["withdrawn", "champion"]
    assert second.run() == set()
    answer = second.told("ask", "Hello?")
    assert answer["model_version"] == "1"
    assert first.told("why", answer["id"])["answer"]["id"] == answer["id"]
    assert len(azure.control.executed_jobs()) == 2 * JOBS
