"""The emulators of one test process share another process and never see an earlier one's state."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
from azure.ai.ml.entities import Environment
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import AzureCliCredential
from azure.storage.blob import ContainerClient

from azure_emulator.blob_storage.azurite import SharedAzurite
from azure_emulator.identity.identities import SUBSCRIPTION, TENANT, USER
from azure_emulator.identity.tokens import Tokens
from azure_emulator.process import CannotStart, LocalAzure, local_azure
from azure_emulator.resource_manager.evaluated import PARAMETERS
from azure_emulator.testing import clients
from azure_emulator.testing.requirements import azurite_or_skip
from azure_emulator.tests.test_machine_learning import Lab, cluster

pytestmark = pytest.mark.azure
HERE = f"https://management.azure.com/subscriptions/{SUBSCRIPTION}"
UNDER_WAY = "under-way"
JOB = "sleep 617"


@pytest.fixture(autouse=True)
def _needs() -> None:
    azurite_or_skip()


def server(azure: LocalAzure) -> psutil.Process:
    return psutil.Process(int((azure.state / "ready").read_text()))


def sleeping(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes of the job below the shared process."""
    return [each for each in process.children(recursive=True) if each.is_running() and JOB in " ".join(each.cmdline())]


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def blobs(account: str) -> ContainerClient:
    return ContainerClient(f"https://{account}.blob.core.windows.net", "mine", AzureCliCredential())


def answer(azure: LocalAzure, method: str, path: str, version: str, body: object = None) -> httpx.Response:
    given = {"Authorization": f"Bearer {Tokens(azure.state).issue(USER, 'https://management.azure.com')}"}
    return httpx.request(method, f"{HERE}{path}?api-version={version}", json=body, headers=given)


def token_of(principal: dict[str, str]) -> int:
    """Return the status of Entra's response to a service principal's token request."""
    form = {"client_id": principal["client_id"], "client_secret": principal["secret"], "scope": "x/.default"}
    return httpx.post(f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token", data=form).status_code


def left_at_work(azure: LocalAzure, folder: Path) -> tuple[str, dict[str, str]]:
    """Create and change many resources and leave a job and a deployment running.

    Return the id of the storage account, and a service principal.
    """
    clients.register()
    outputs = clients.deploy(**PARAMETERS, accessMode="keyless")
    account = outputs["resources"]["storage_account"]
    azure.control.give_role(role="Storage Blob Data Contributor", scope=account)
    container = blobs(account.rpartition("/")[2])
    container.create_container()
    container.upload_blob("left", b"of the first")
    lab = Lab(azure, clients.ml(outputs), outputs, folder)
    lab.ml.compute.begin_create_or_update(cluster(outputs)).result()
    lab.ml.environments.create_or_update(Environment(name="phi-training", version="1", image="mcr.microsoft.com/any"))
    lab.submit("job-left", JOB, code=None)
    until(lambda: sleeping(server(azure)))
    principal = azure.control.new_service_principal("left")
    assert token_of(principal) == 200
    azure.control.scale(1000)
    made = clients.body(**PARAMETERS, accessMode="keyless")
    clients.deployments().deployments.begin_create_or_update_at_subscription_scope(UNDER_WAY, made, polling=False)
    azure.control.soft_delete_vault("kv-left")
    azure.control.storage_key(account.rpartition("/")[2], "planted")
    azure.control.subscription_state("Disabled")
    azure.control.fail_randomly(1.0, seed=1)
    azure.control.fail_next("GET", "503", 1000)
    azure.control.sign_in("signed_out")
    return account, principal


def test_the_next_one_in_the_process_is_empty(tmp_path: Path) -> None:
    with local_azure(tmp_path / "first", scale=0.0) as first:
        account, principal = left_at_work(first, tmp_path)
        under_way = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Resources/deployments/{UNDER_WAY}"
        assert first.control.resource(under_way)["properties"]["provisioningState"] == "Running"  # type: ignore[index]
        process = server(first)
    assert sleeping(process) == []

    with local_azure(tmp_path / "second", scale=0.0) as second:
        control = second.control
        assert server(second) == process
        assert second.environment["HTTPS_PROXY"] != first.environment["HTTPS_PROXY"]
        assert [control.resources(), control.requests(), control.soft_deleted(), control.executed_jobs()] == [[]] * 4
        assert [(role["oid"], role["role"]) for role in control.roles()] == [(USER, "Owner")]
        assert control.provider("Microsoft.Storage") == "NotRegistered"
        assert token_of(principal) in (400, 401)
        # Its clients sign in, no call of theirs fails, and the token that the first gave is worth nothing.
        assert list(clients.resources(**clients.no_retries()).resource_groups.list()) == []
        assert answer(second, "GET", "", "2022-12-01").json()["state"] == "Enabled"
        assert answer(first, "GET", "", "2022-12-01").status_code == 401

        # An account of the same name, with a container of the same name, has nothing in it.
        control.set_provider("Microsoft.Storage", "Registered")
        group = account.partition("/providers/")[0].rpartition("/")[2]
        assert answer(second, "PUT", f"/resourceGroups/{group}", "2025-04-01", {"location": "eastus2"}).is_success
        body = {"location": "eastus2", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": {}}
        path = account.partition(SUBSCRIPTION)[2]
        assert answer(second, "PUT", path, "2025-06-01", body).is_success
        until(lambda: control.resource(account)["properties"]["provisioningState"] == "Succeeded")  # type: ignore[index]
        name = account.rpartition("/")[2]
        assert control.storage_key(name, None) != "planted"
        control.give_role(role="Storage Blob Data Contributor", scope=account)
        with pytest.raises(ResourceNotFoundError, match="ContainerNotFound"):
            blobs(name).download_blob("left")
        blobs(name).create_container()
        assert list(blobs(name).list_blobs()) == []


def test_no_two_have_the_same_place_for_an_account() -> None:
    shares = [SharedAzurite() for _ in range(3)]
    slots = [share.slot(name) for share in shares for name in ("stone", "sttwo")]
    assert len(set(slots)) == 6
    assert shares[0].slot("stone") == slots[0]


def test_when_its_process_is_gone_it_says_so_and_the_next_has_another(tmp_path: Path) -> None:
    gone = []
    with pytest.raises(CannotStart, match="the process ended"):
        killed(tmp_path / "first", gone)
    with local_azure(tmp_path / "second", scale=0.0) as second:
        assert second.control.ping() == "the local Azure is up"
        assert [server(second)] != gone


def killed(state: Path, gone: list[psutil.Process]) -> None:
    with local_azure(state, scale=0.0) as first:
        gone.append(server(first))
        os.kill(gone[0].pid, signal.SIGKILL)
        gone[0].wait(30)


def test_it_ends_with_the_process_that_it_serves(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from azure_emulator.process import local_azure\n"
        "with local_azure(Path(sys.argv[1])) as azure: os.kill(os.getpid(), signal.SIGKILL)"
    )
    caller = subprocess.run([sys.executable, "-c", script, str(tmp_path / "azure")])
    assert caller.returncode == -signal.SIGKILL
    pid = int((tmp_path / "azure" / "ready").read_text())
    until(lambda: not psutil.pid_exists(pid))
