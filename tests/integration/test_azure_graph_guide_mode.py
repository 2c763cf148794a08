"""The whole Azure graph in the guide's access mode, by `phi run`: shared keys are on, and are stored nowhere."""

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from azure_emulator.process import LocalAzure
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.storage import blob
from phi_assets.project import PROJECT
from phi_assets.settings import read
from tests.integration.test_whole_azure_graph import JOBS, TOKEN, azure_home, writes
from tests.support.homes import Home

pytestmark = [pytest.mark.long, pytest.mark.azure, pytest.mark.integration, pytest.mark.timeout(900)]

HUB_TOKEN = "hf_aCanaryThatNobodyMayKeep0123456789"
CHECK = re.compile(r"check (\w+): (passed|warning|FAILED)")


@pytest.fixture(scope="module")
def home(azure: LocalAzure, tmp_path_factory) -> Iterator[Home]:
    its = azure_home(tmp_path_factory.mktemp("home"), 3770)
    its.settings.update({"PHI_AZURE_ACCESS_MODE": "guide", "HF_TOKEN": HUB_TOKEN})
    yield its
    its.phi("down")


def test_every_asset_is_made_and_no_check_fails(azure, home):
    done = home.phi("run")

    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = CHECK.findall(done.stdout)
    assert len(verdicts) > 40
    # The two-layer base answers no general question, so that nothing can be forgotten and the check only warns.
    assert [(check, verdict) for check, verdict in verdicts if verdict != "passed"] == [
        ("keeps_general_answers", "warning")
    ]
    assert set(home.status().values()) == {"fresh"}
    assert len(azure.control.executed_jobs()) == JOBS
    (account,) = azure.control.resources("Microsoft.Storage/storageAccounts")
    assert account["properties"]["allowSharedKeyAccess"] is True


def test_a_second_run_writes_nothing(azure, home):
    azure.control.forget_requests()

    assert home.run() == set()
    assert writes(azure) == []


def test_the_storage_key_and_the_hub_token_are_kept_nowhere(azure, home):
    """Dagster's storage, logs, records, the repository; on Azure every blob, job, model and data asset."""
    (account,) = azure.control.resources("Microsoft.Storage/storageAccounts")
    secrets = [azure.control.storage_key(account["name"]).encode(), HUB_TOKEN.encode()]
    files = {str(path): path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    resources = {str(each["id"]): json.dumps(each).encode() for each in azure.control.resources()}
    places = {**files, **tracked(), **blobs(home), **resources}

    assert len(resources) > 30
    assert any(name.endswith("std_log.txt") for name in places)
    assert any("/dagster/" in name and name.endswith(".db") for name in places)
    assert [name for name, content in places.items() if any(secret in content for secret in secrets)] == []
    made_up = {name for name in tracked() if name.startswith("tests/")}
    assert [name for name, content in places.items() if name not in made_up and TOKEN.search(content)] == []


def tracked() -> dict[str, bytes]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    others = set(listed.split()) - {"tests/integration/test_azure_graph_guide_mode.py"}  # this file names the token
    return {name: (PROJECT / name).read_bytes() for name in others if (PROJECT / name).is_file()}


def blobs(home: Home) -> dict[str, bytes]:
    """Return every blob of the workspace's storage account, read as the signed-in user."""
    settings = read({name: value for name, value in home.settings.items() if name.startswith("PHI_")})
    place = blob.WorkspaceBlobs(clients(AzureAccount.of(settings).fields), print, 0.5)
    account = place.clients.blob(place.place[0])
    containers = [account.get_container_client(found.name) for found in account.list_containers()]
    return {
        f"{container.container_name}/{name}": container.download_blob(name).readall()
        for container in containers
        for name in container.list_blob_names()
    }
