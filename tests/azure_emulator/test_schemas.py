"""Microsoft's schemas, made strict: what our template and the SDK send passes, one misspelt key does not."""

import copy
import json
from typing import Any

import pytest

from tests.azure_emulator.evaluated import committed
from tests.azure_emulator.identities import LOCATION, USER
from tests.azure_emulator.messages import AzureError
from tests.azure_emulator.schemas import FOLDER, Schemas, validator_of

pytestmark = [
    pytest.mark.skipif(not FOLDER.is_dir(), reason="Microsoft's schemas are not beside the project (shared/specs/arm)"),
]
ML = "Microsoft.MachineLearningServices/workspaces"
DATASTORE = "azureml://datastores/workspaceblobstore/paths/x"
# What azure-ai-ml 1.35 sends for each type, with the api-version that it uses.
SDK_BODIES: list[tuple[str, str, dict[str, Any]]] = [
    (
        f"{ML}/computes",
        "2023-08-01-preview",
        {
            "location": LOCATION,
            "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/a": {}}},
            "properties": {
                "computeType": "AmlCompute",
                "disableLocalAuth": True,
                "properties": {
                    "vmSize": "Standard_NC24ads_A100_v4",
                    "vmPriority": "Dedicated",
                    "scaleSettings": {"maxNodeCount": 1, "minNodeCount": 0, "nodeIdleTimeBeforeScaleDown": "PT2M"},
                    "enableNodePublicIp": True,
                },
            },
        },
    ),
    (
        f"{ML}/environments/versions",
        "2023-04-01-preview",
        {"properties": {"build": {"contextUri": "https://a/b", "dockerfilePath": "Dockerfile"}, "osType": "Linux"}},
    ),
    (
        f"{ML}/data/versions",
        "2023-04-01-preview",
        {"properties": {"dataType": "uri_folder", "dataUri": DATASTORE, "tags": {"digest": "a"}, "isAnonymous": False}},
    ),
    (
        f"{ML}/codes/versions",
        "2023-04-01",
        {"properties": {"codeUri": "https://a/b", "properties": {"hash_sha256": "a", "hash_version": 202208}}},
    ),
    (
        f"{ML}/models/versions",
        "2023-08-01-preview",
        {"properties": {"modelType": "custom_model", "modelUri": DATASTORE, "tags": {"a": "b"}, "flavors": {}}},
    ),
    (
        f"{ML}/jobs",
        "2025-01-01-preview",
        {
            "properties": {
                "jobType": "Command",
                "command": "python train.py",
                "environmentId": "/subscriptions/a",
                "computeId": "/subscriptions/b",
                "experimentName": "phi-assets",
                "identity": {"identityType": "Managed", "clientId": USER},
                "inputs": {"data": {"jobInputType": "uri_folder", "uri": DATASTORE, "mode": "ReadOnlyMount"}},
                "outputs": {"model": {"jobOutputType": "uri_folder", "uri": DATASTORE, "mode": "ReadWriteMount"}},
                "limits": {"jobLimitsType": "Command", "timeout": "PT1H"},
                "resources": {"instanceCount": 1, "shmSize": "2g", "properties": {}},
                "tags": {},
            }
        },
    ),
]


def refused(type: str, api_version: str, body: dict[str, Any]) -> str:
    with pytest.raises(AzureError) as caught:
        Schemas().check(type, api_version, body)
    assert caught.value.code == "InvalidRequestContent"
    return caught.value.message


@pytest.mark.parametrize(
    ("type", "api_version", "body"), SDK_BODIES, ids=[row[0].split("/", 1)[1] for row in SDK_BODIES]
)
def test_what_the_sdk_sends_passes_and_a_misspelt_key_does_not(
    type: str, api_version: str, body: dict[str, Any]
) -> None:
    assert validator_of(type, api_version) is not None
    Schemas().check(type, api_version, body)
    wrong = copy.deepcopy(body)
    wrong["properties"]["tagz"] = {}
    assert "tagz" in refused(type, api_version, wrong)


def test_a_misspelt_key_deep_in_a_variant_is_named() -> None:
    type, api_version, body = copy.deepcopy(SDK_BODIES[0])
    scale = body["properties"]["properties"]["scaleSettings"]
    scale["maxNodes"] = scale.pop("maxNodeCount")
    message = refused(type, api_version, body)
    assert "properties.properties.scaleSettings" in message


def test_a_key_of_another_variant_is_refused() -> None:
    type, api_version, body = copy.deepcopy(SDK_BODIES[-1])
    body["properties"]["searchSpace"] = {}
    assert "searchSpace" in refused(type, api_version, body)


def test_an_unknown_variant_is_refused() -> None:
    type, api_version, body = copy.deepcopy(SDK_BODIES[-1])
    body["properties"]["jobType"] = "Comand"
    assert "Comand" in refused(type, api_version, body)


def template_resources() -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for resource in (each for evaluation in committed().values() for each in evaluation["predictedResources"]):
        first.setdefault(resource["type"], resource)
    return list(first.values())


@pytest.mark.parametrize("resource", template_resources(), ids=lambda r: r["type"])
def test_what_the_template_sends_passes_and_a_misspelt_key_does_not(resource: dict[str, Any]) -> None:
    type, api_version = resource["type"], resource["apiVersion"]
    assert validator_of(type, api_version) is not None, f"there is no schema of {type} {api_version}"
    body = {k: v for k, v in resource.items() if k not in ("id", "name", "type", "apiVersion")}
    Schemas().check(type, api_version, body)
    wrong = json.loads(json.dumps(body))
    wrong.setdefault("properties", {})["misspelt"] = 1
    assert "misspelt" in refused(type, api_version, wrong)
