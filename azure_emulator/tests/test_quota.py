"""Quota as on Azure: separate for Azure ML and Compute, per family and region, with one row per place."""

from typing import Any

import pytest

from azure_emulator.resource_manager import skus
from azure_emulator.testing.in_process import HERE, InProcessEmulator, refusal
from azure_emulator.testing.job_runner_alone import wait_until
from azure_emulator.testing.requirements import needs_schemas

pytestmark = pytest.mark.azure
A100, DSV3 = "standardNCADSA100v4Family", "standardDSv3Family"
TITLE, WHOLE = skus.TITLES[A100], skus.TITLES[skus.TOTAL]
ML = "providers/Microsoft.MachineLearningServices"
PLACE = f"{HERE}/{ML}/locations/eastus2"


@pytest.fixture
def azure(in_process: InProcessEmulator) -> InProcessEmulator:
    for name in skus.TITLES:
        in_process.control.set_quota(name, 300)
    return in_process


def cluster(azure: InProcessEmulator, workspace: str, name: str, size: str, nodes: int = 1) -> str:
    scale = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT120S"}
    asked = {"vmSize": size, "scaleSettings": scale}
    id = azure.plant(f"{workspace}/computes/{name}", location="eastus2", properties={"properties": asked})
    found = azure.emulator.resources.find(id)
    assert found
    for number in range(nodes):
        wait_until(lambda number=number: azure.emulator.clusters.take(found, f"job-{number}"), 5)
    return id


def usages(azure: InProcessEmulator) -> list[dict[str, Any]]:
    return azure.ask("GET", f"{PLACE}/usages", version="2025-09-01").body["value"]


def test_usages_have_a_row_of_the_subscription_then_one_of_every_workspace_and_cluster(
    azure: InProcessEmulator,
) -> None:
    one = azure.plant(f"{azure.group('rg-quota')}/{ML}/workspaces/mlw-one", location="eastus2")
    two = azure.plant(f"{azure.group('rg-quota')}/{ML}/workspaces/mlw-two", location="eastus2")
    gpu = cluster(azure, one, "gpu", "Standard_NC24ads_A100_v4")
    cluster(azure, one, "cpu", "Standard_D4s_v3", nodes=0)
    rows = [row for row in usages(azure) if row["name"]["localizedValue"] == TITLE]
    assert [(row["currentValue"], row["limit"]) for row in rows] == [(24, 300), (24, -1), (24, -1), (0, -1)]
    assert [row["id"] for row in rows[1:]] == [f"{one}/usages", f"{gpu}/usages", f"{two}/usages"]
    assert "/resourcegroups/" not in rows[0]["id"].lower()
    assert all(row["name"]["value"] == row["name"]["localizedValue"] for row in usages(azure))
    totals = [row["currentValue"] for row in usages(azure) if row["name"]["value"] == WHOLE]
    assert totals == [24, 24, 24, 0, 0]
    azure.control.delete(one)


def quota(azure: InProcessEmulator, provider: str) -> dict[str, Any]:
    place = f"{HERE}/providers/{provider}/locations/eastus2/providers/Microsoft.Quota/quotas/{A100}"
    return azure.ask("GET", place, version="2025-09-01").body


def test_a_grant_to_compute_leaves_azure_ml_as_it_was(azure: InProcessEmulator) -> None:
    place = f"{HERE}/providers/Microsoft.Compute/locations/eastus2/providers/Microsoft.Quota/quotas/{A100}"
    asked = {"properties": {"limit": {"limitObjectType": "LimitValue", "value": 777}, "name": {"value": A100}}}
    assert azure.ask("PUT", place, asked, "2025-09-01").status == 202
    wait_until(lambda: quota(azure, "Microsoft.Compute")["properties"]["limit"]["value"] == 777, 5)
    ours = quota(azure, "Microsoft.MachineLearningServices")
    assert (ours["name"], ours["properties"]["limit"]["value"]) == (A100, 300)
    assert ours["properties"]["name"] == {"value": A100, "localizedValue": TITLE}
    assert next(row["limit"] for row in usages(azure) if row["name"]["value"] == TITLE) == 300
    requests = f"{PLACE}/providers/Microsoft.Quota/quotaRequests"
    assert azure.ask("GET", requests, version="2025-09-01").body["value"] == []


@needs_schemas
@pytest.mark.parametrize(
    "asked",
    [
        {"limmit": {"limitObjectType": "LimitValue", "value": 48}},
        {"limit": {"limitObjectType": "LimitValue", "value": 48, "unitt": "Count"}},
    ],
)
def test_a_misspelt_key_of_a_request_is_refused(azure: InProcessEmulator, asked: dict[str, Any]) -> None:
    address = f"{PLACE}/providers/Microsoft.Quota/quotas/{A100}"
    refused = azure.ask("PUT", address, {"properties": asked}, "2025-09-01")
    assert refusal(refused)[:2] == (400, "InvalidRequestContent")


def test_nodes_stay_within_the_regions_total(azure: InProcessEmulator) -> None:
    workspace = azure.plant(f"{azure.group('rg-quota')}/{ML}/workspaces/mlw-full", location="eastus2")
    azure.control.set_quota(skus.TOTAL, 3)
    id = cluster(azure, workspace, "cpu", "Standard_D4s_v3", nodes=0)
    found = azure.emulator.resources.find(id)
    assert found
    assert not azure.emulator.clusters.take(found, "job")
    error = found.properties["properties"]["errors"][0]["error"]
    assert error["code"] == "ClusterCoreQuotaReached"
    assert "Maximum allowed: 3, Current in use: 0, Additional requested: 4" in error["message"]
    asked = {
        "location": "eastus2",
        "properties": {
            "computeType": "AmlCompute",
            "properties": {"vmSize": "Standard_D4s_v3", "scaleSettings": {"minNodeCount": 1, "maxNodeCount": 1}},
        },
    }
    refused = azure.ask("PUT", f"{workspace}/computes/always", asked)
    assert refusal(refused)[1] == "ClusterMinNodesExceedCoreQuota"
    assert WHOLE in refusal(refused)[2]


def test_deployments_stay_within_the_regions_total(azure: InProcessEmulator) -> None:
    workspace = azure.plant(f"{azure.group('rg-quota')}/{ML}/workspaces/mlw-serves", location="eastus2")
    endpoint = azure.plant(f"{workspace}/onlineEndpoints/phi", location="eastus2", properties={"authMode": "Key"})
    environment = azure.plant(f"{workspace}/environments/phi/versions/1", properties={"inferenceConfig": {"a": 1}})
    azure.control.set_quota(skus.TOTAL, 7)
    asked = {"endpointComputeType": "Managed", "instanceType": "Standard_E4s_v3", "environmentId": environment}
    body = {"location": "eastus2", "properties": asked, "sku": {"name": "Default", "capacity": 1}}
    refused = refusal(azure.ask("PUT", f"{endpoint}/deployments/blue", body))
    assert "Current usage/limit: 0/7. Additional needed: 8" in refused[2]
