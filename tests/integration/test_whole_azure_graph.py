"""The whole Azure graph by `phi run`, on a tiny model: Azure's real clients, and a local Azure that runs the jobs."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from azure_emulator.process import LocalAzure
from phi_assets.project import PROJECT
from tests.support.chromium import chromium, links, text_of, wait_for
from tests.support.graph_facts import AZURE
from tests.support.homes import OWN, Home, tiny_home

pytestmark = [pytest.mark.azure, pytest.mark.integration, pytest.mark.timeout(900)]

JOBS = 2  # one that trains and one that evaluates
TOKEN = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.")
UNDERSTANDS = ("arm", "ml", "quota")
GRAPH = json.loads((PROJECT / "tests/unit/asset_graph_azure.json").read_text(encoding="utf-8"))["assets"]

# Of an asset's page: a text about costs or the job, and the start of a link.
PAGES = [
    ("container_registry", "0.167 a day", "https://portal.azure.com/#resource/"),
    ("gpu_quota", "dearest_job", "https://portal.azure.com/#view/Microsoft_Azure_Capacity"),
    ("fine_tuned_model", "loss_curve", "https://ml.azure.com/runs/"),
    ("online_deployment", "dollars_a_day", "https://ml.azure.com/endpoints/realtime/"),
]


@pytest.fixture(scope="module")
def home(azure, tmp_path_factory):
    its = azure_home(tmp_path_factory.mktemp("home"), 3700)
    yield its
    its.phi("down")


@pytest.fixture(scope="module")
def ui(home) -> str:
    """The address of the home's Dagster UI, which its first run started."""
    return home.ui()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def azure_home(folder: Path, ui_port: int) -> Home:
    dataset = folder / "conversations.jsonl"
    dataset.write_text("".join(OWN.read_text(encoding="utf-8").splitlines(keepends=True)[:150]), encoding="utf-8")
    its = tiny_home(folder, dataset, ui_port)
    its.settings.update(AZURE)  # the name whose evaluated template is committed
    return its


def writes(azure: LocalAzure) -> list[str]:
    return [
        f"{found['verb']} {found['path']}"
        for service in UNDERSTANDS
        for found in azure.control.requests(service=service, writes_only=True)
    ]


@pytest.mark.guide("training-job")
@pytest.mark.documented("PHI_AZURE_LOCATION PHI_AZURE_NAME PHI_AZURE_SUBSCRIPTION_ID PHI_BACKEND phi run")
def test_the_first_run_makes_every_asset_of_an_empty_subscription(azure, home):
    made = home.run()

    assert {"resource_group", "role_assignments", "gpu_quota", "training_compute", "registered_model"} <= made
    assert set(home.status().values()) == {"fresh"}
    assert len(azure.control.executed_jobs()) == JOBS


def test_a_second_run_writes_nothing(azure, home):
    azure.control.forget_requests()

    assert home.run() == set()

    assert writes(azure) == []


def test_an_answer_leads_back_to_its_job_and_its_data(home):
    answer = home.told("ask", "Hello?")
    found = home.told("why", "--last")

    assert found["answer"]["id"] == answer["id"]
    assert found["page"].startswith("https://ml.azure.com/runs/")
    assert found["dataset"]["digest"] == answer["dataset_digest"]
    assert found["trained"]["run"] == found["deployed"]["run"] == answer["dagster_run"]
    assert found["notes"] == []


def test_no_key_and_no_token_is_kept(azure, home):
    (account,) = azure.control.resources(type="Microsoft.Storage/storageAccounts")
    key = azure.control.storage_key(account["name"]).encode()
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    repository = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    kept = [path for path in home.folder.rglob("*") if path.is_file()]
    ours = [PROJECT / name for name in repository if (PROJECT / name).is_file()]
    assert len(kept) > 50
    assert len(ours) > 500
    assert [path for path in (*kept, *ours) if key in content(path)] == []
    assert [path for path in kept if TOKEN.search(content(path))] == []


def content(path: Path) -> bytes:
    """The file's bytes; none of a database's log that was merged into it meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if path.name.endswith(("-wal", "-shm")):
            return b""
        raise


@pytest.mark.browser
def test_the_lineage_view_shows_every_stage_and_each_resource_of_the_infrastructure(ui, browser):
    resources = {name for name, asset in GRAPH.items() if asset["group"] == "infrastructure"}
    browser.set_window_size(4200, 2300)  # the page draws only what is inside the window

    browser.get(f"{ui}/asset-groups?expanded=global%40global%3Ainfrastructure")

    wanted = resources | {asset["group"] for asset in GRAPH.values()}
    wait_for(browser, lambda page: wanted <= set(text_of(page).split()))


@pytest.mark.browser
@pytest.mark.parametrize(("asset", "words", "link"), PAGES)
def test_a_page_of_the_graph_shows_its_costs_and_leads_to_azure(ui, browser, asset, words, link):
    browser.get(f"{ui}/assets/{asset}")

    wait_for(browser, lambda page: words in text_of(page))
    assert any(address.startswith(link) for address in links(browser))
