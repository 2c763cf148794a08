"""Submitted jobs: two workspaces may have jobs of the same name, and pulling an image needs a role."""

from typing import Any

import pytest

from azure_emulator.resource_manager import put_resource
from azure_emulator.testing.in_process import InProcessEmulator
from azure_emulator.testing.job_runner_alone import wait_until

pytestmark = [pytest.mark.azure, pytest.mark.integration]
ML = "providers/Microsoft.MachineLearningServices/workspaces"
SCALE = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT120S"}
STORE = {"accountName": "stjobs", "containerName": "azureml", "credentials": {"credentialsType": "None"}}
NAME = "job-same"


@pytest.fixture(scope="module")
def azure(in_process: InProcessEmulator) -> InProcessEmulator:
    in_process.group("rg-jobs")
    in_process.emulator.blobs.ensure_container("stjobs", "azureml")
    in_process.emulator.start_runner("http://127.0.0.1:9")
    return in_process


def workspace(azure: InProcessEmulator, name: str) -> str:
    """Create a workspace with the minimum for a job. Return its id."""
    id = azure.plant(f"{azure.group('rg-jobs')}/{ML}/{name}", location="eastus2", properties={})
    size = {"vmSize": "Standard_D4s_v3", "scaleSettings": SCALE}
    azure.plant(f"{id}/computes/training", location="eastus2", properties={"properties": size})
    azure.plant(f"{id}/environments/phi/versions/1", properties={"image": "mcr.microsoft.com/any"})
    azure.plant(f"{id}/datastores/workspaceartifactstore", properties=STORE)
    return id


def submit(azure: InProcessEmulator, workspace: str, name: str = NAME) -> str:
    asked: dict[str, Any] = {"jobType": "Command", "command": "sleep 60"}
    asked |= {"computeId": f"{workspace}/computes/training"}
    asked |= {"environmentId": f"{workspace}/environments/phi/versions/1"}
    answer = azure.ask("PUT", f"{workspace}/jobs/{name}", {"properties": asked})
    assert answer.status == 201, answer
    return answer.body["id"]


def until(azure: InProcessEmulator, job: str, status: str) -> None:
    wait_until(lambda: azure.ask("GET", job).body["properties"]["status"] == status, 20)


def test_two_workspaces_have_a_job_of_one_name_each(azure: InProcessEmulator) -> None:
    jobs = [submit(azure, workspace(azure, name)) for name in ("mlw-one", "mlw-two")]
    for job in jobs:
        until(azure, job, "Running")
    assert azure.control.executed_jobs() == [NAME, NAME]
    azure.ask("POST", f"{jobs[0]}/cancel")
    until(azure, jobs[0], "Canceled")
    assert azure.ask("GET", jobs[1]).body["properties"]["status"] == "Running"
    azure.ask("POST", f"{jobs[1]}/cancel")
    until(azure, jobs[1], "Canceled")


def test_a_queued_job_is_cancelled_though_one_of_its_name_ran_before_its_workspace_was_remade(
    azure: InProcessEmulator,
) -> None:
    until(azure, submit(azure, workspace(azure, "mlw-again")), "Running")
    put_resource.drop(azure.emulator, f"{azure.group('rg-jobs')}/{ML}/mlw-again")
    azure.control.capacity(False)
    try:
        job = submit(azure, workspace(azure, "mlw-again"))
        until(azure, job, "Queued")
        azure.ask("POST", f"{job}/cancel")
        until(azure, job, "Canceled")
    finally:
        azure.control.capacity(True)


def test_a_job_fails_before_it_runs_while_its_identity_may_not_pull_its_image(azure: InProcessEmulator) -> None:
    id = workspace(azure, "mlw-image")
    group = id.partition("/providers/")[0]
    registry = azure.plant(f"{group}/providers/Microsoft.ContainerRegistry/registries/crjobs", location="eastus2")
    azure.control.change(id, {"containerRegistry": registry})
    azure.plant(f"{id}/environments/phi/versions/1", properties={"build": {"contextUri": "https://any"}})
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-jobs"
    who = {identity: {"principalId": "44444444-4444-4444-4444-444444444444", "clientId": "any"}}
    azure.emulator.resources.find(f"{id}/computes/training").body["identity"] = {"userAssignedIdentities": who}  # type: ignore[union-attr]
    before = azure.control.executed_jobs()

    job = submit(azure, id)
    until(azure, job, "Failed")
    error = azure.emulator.resources.find(job).hidden["error"]  # type: ignore[union-attr]
    assert error["code"] == "UserError"
    assert error["message"].startswith("Failed to pull Docker image crjobs.azurecr.io/azureml/phi")
    assert error["message"].endswith("unauthorized: authentication required")

    oid = who[identity]["principalId"]
    late = azure.control.give_role(oid, "AcrPull", registry, delay=60)
    job = submit(azure, id, name="job-late")
    until(azure, job, "Failed")
    assert azure.control.executed_jobs() == before
    azure.control.take_role(late)
    azure.control.give_role(oid, "AcrPull", registry, delay=0)
    job = submit(azure, id, name="job-allowed")
    until(azure, job, "Running")
    azure.ask("POST", f"{job}/cancel")
    until(azure, job, "Canceled")
