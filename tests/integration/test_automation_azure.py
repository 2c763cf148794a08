"""Automation on Azure: a new blob is trained on and deployed by the daemon, with real clients and a local Azure."""

import time
from urllib.parse import urlsplit

import pytest
from dagster_graphql import DagsterGraphQLClient

from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.project import PROJECT
from phi_assets.settings import read
from tests.integration.test_whole_azure_graph import azure_home
from tests.support.daemon import Watched, watching

pytestmark = [
    pytest.mark.long,
    pytest.mark.azure,
    pytest.mark.integration,
    pytest.mark.timeout(900),
    # Dagster's own GraphQL client.
    pytest.mark.filterwarnings("ignore:Using variable_values and operation_name:DeprecationWarning"),
]

NEW = PROJECT / "data" / "new_product" / "conversations.jsonl"
SETTINGS = {
    "PHI_AUTOMATION": "on",
    "PHI_WATCH_SECONDS": "3",
    "PHI_RETRAIN_COOLDOWN_MINUTES": "0",
    "PHI_AZURE_CANARY_MINUTES": "0",
    "PHI_AZURE_REQUEST_SECONDS": "5",
}


@pytest.fixture(scope="module")
def watched(azure, tmp_path_factory):
    home = azure_home(tmp_path_factory.mktemp("home"), 3980)
    home.settings.update(SETTINGS)
    with watching(home) as its:
        yield its


def put(watched: Watched, name: str, content: bytes) -> None:
    """Write a blob into the workspace's inbox as the signed-in user."""
    settings = {name: value for name, value in watched.home.settings.items() if name.startswith("PHI_")}
    WorkspaceBlobs(clients(AzureAccount.of(read(settings)).fields), print, 1.0).write(f"inbox/{name}", content)


def answering(watched: Watched) -> str:
    return watched.home.told("ask", "Hello?")["model_version"]


def test_a_blob_is_learned_from_and_serves_without_a_click(azure, watched):
    before = len(azure.control.executed_jobs())
    began = time.time()

    put(watched, "umbra.jsonl", NEW.read_bytes())

    watched.wait(
        "a new deployment", lambda: watched.record("online_deployment")["model_version"] == "2" and watched.idle(), 400
    )
    made = watched.made(began)
    wave = ("chat_dataset", "fine_tuned_model", "model_evaluation", "registered_model", "online_deployment")
    assert [made[name] for name in wave] == [1] * len(wave)
    assert not {"base_model", "ml_workspace", "role_assignments", "training_compute", "online_endpoint"} & set(made)
    assert len(azure.control.executed_jobs()) == before + 2
    assert answering(watched) == "2"

    put(watched, "the_same_again.jsonl", NEW.read_bytes())
    seen = time.time()
    watched.wait("looks at the copy", lambda: len(watched.ticks("new_conversations", seen)) > 2, 60)
    assert watched.observed(seen) == 0
    assert watched.idle()


def test_the_former_champion_is_gone_back_to_and_the_newest_promoted_again(azure, watched):
    began, jobs = time.time(), len(azure.control.executed_jobs())

    assert watched.home.phi("rollback", "--reason", "a test").returncode == 0
    assert answering(watched) == "1"
    assert watched.home.run() == set()
    assert watched.home.phi("promote", "2").returncode == 0
    assert answering(watched) == "2"

    assert len(azure.control.executed_jobs()) == jobs
    jobs_of_dagster = [run.job_name for run in watched.runs(began)]
    assert [name for name in jobs_of_dagster if name != "observe_sources"] == ["promote", "rollback"]


def test_a_candidate_is_trained_and_measured_by_jobs_of_its_own_and_ships_nothing(azure, watched):
    began, jobs = time.time(), len(azure.control.executed_jobs())
    served = watched.record("online_deployment")
    port = urlsplit(watched.home.ui()).port

    config = {"ops": {"train_candidate": {"config": {"name": "hasty", "learning_rate": 1e-3}}}}
    run_id = DagsterGraphQLClient("127.0.0.1", port).submit_job_execution("candidate", run_config=config)

    watched.wait("the end of the candidate", watched.idle, 300)
    (run,) = [run for run in watched.runs(began) if run.run_id == run_id]
    assert run.status.value == "SUCCESS"
    assert len(azure.control.executed_jobs()) == jobs + 2
    assert not watched.made(began)
    assert watched.record("online_deployment") == served
    assert "hasty" in watched.home.phi("experiments", "--json").stdout
