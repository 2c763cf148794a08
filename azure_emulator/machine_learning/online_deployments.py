"""Online deployments: requirements of a PUT, and Azure's defaults."""

from __future__ import annotations

import json
import math
from typing import Any

from azure_emulator.machine_learning.clusters import seconds_of
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager import skus
from azure_emulator.resource_manager.resource_ids import parent_of, plain
from azure_emulator.resource_manager.resource_types import Put
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

TYPE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"
_LONGEST_REQUEST = 180
_PROBE = {"failureThreshold": 30, "initialDelay": "PT10S", "period": "PT10S", "successThreshold": 1, "timeout": "PT2S"}
_REQUESTS = {"maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0.5S", "requestTimeout": "PT5S"}
# A change of these creates a new container; other changes are made in place.
WORK = ("model", "environmentId", "environmentVariables", "instanceType", "modelMountPath")


def complete(put: Put) -> None:
    """Check a managed deployment, its parts and quota, and add Azure's defaults."""
    endpoint = put.emulator.resources.find(parent_of(put.id))
    assert endpoint
    if endpoint.state != "Succeeded":
        raise _invalid(f"The endpoint '{endpoint.body['name']}' is {endpoint.state}: it takes no deployment.")
    if plain(put.body["location"]) != plain(endpoint.body["location"]):
        raise _invalid(f"The deployment's location '{put.body['location']}' is not the endpoint's.")
    asked = put.properties
    if asked.get("endpointComputeType") != "Managed":
        raise _invalid(f"The local Azure has Managed deployments only, not '{asked.get('endpointComputeType')}'.")
    if asked.get("codeConfiguration"):
        raise _invalid("The local Azure runs custom containers only: leave codeConfiguration out.")
    _require_parts(put)
    put.default(
        properties={}, description=None, appInsightsEnabled=False, environmentVariables={}, codeConfiguration=None
    )
    put.default(scaleSettings={"scaleType": "Default"}, egressPublicNetworkAccess="Enabled", modelMountPath=None)
    if asked["scaleSettings"].get("scaleType") != "Default":
        raise _invalid("A managed deployment's own scaleSettings.scaleType can only be Default.")
    for key in ("livenessProbe", "readinessProbe"):
        asked[key] = _probe(key, asked.get(key) or {})
    asked["requestSettings"] = _requests(asked.get("requestSettings") or {})
    sku = {"name": "Default", "capacity": 1, **(put.body.get("sku") or {})}
    if not isinstance(sku["capacity"], int) or not 1 <= sku["capacity"] <= 50:
        raise _invalid(f"sku.capacity is {sku['capacity']}: a deployment has 1 to 50 instances.")
    put.body["sku"] = sku
    _require_quota(put, sku["capacity"])


def vcpus_of(size: skus.VmSize, instances: int) -> int:
    """Return the vCPUs of instances in Azure ML's quota, including 20 percent reserved for upgrades.

    https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas#virtual-machine-quota-allocation-for-deployment
    """
    exempt = size.name.lower().startswith("standard_nc") and "a100" in size.name.lower()
    return (instances if exempt else math.ceil(1.2 * instances)) * size.vcpus


def vcpus_in_use(emulator: EmulatorState, quota: str, under: str, but: str) -> int:
    """Return the vCPUs of a quota that deployments below an id use, failed ones included."""
    total = 0
    for deployment in emulator.resources.of_type(TYPE, under):
        size = skus.find(str(deployment.properties.get("instanceType")))
        if size and size.counts_as(quota) and deployment.id.lower() != but.lower():
            total += vcpus_of(size, deployment.body["sku"]["capacity"])
    return total


def dropped(emulator: EmulatorState, deployment: Resource) -> None:
    emulator.scoring.remove(deployment.id)


def request_timeout(properties: dict[str, Any]) -> float:
    return seconds_of(properties["requestSettings"]["requestTimeout"]) or 5.0


def max_concurrent_requests(deployment: Resource) -> int:
    """Return the maximum number of requests in flight; more get status 429."""
    each = deployment.properties["requestSettings"]["maxConcurrentRequestsPerInstance"]
    return 2 * each * deployment.body["sku"]["capacity"]


def _require_parts(put: Put) -> None:
    asked, find = put.properties, put.emulator.resources.find
    if asked.get("model") and _absent(put, str(asked["model"]).removeprefix("azureml:"), "models"):
        raise _invalid(f"The model '{asked['model']}' was not found in the workspace.")
    environment = find(str(asked.get("environmentId")).removeprefix("azureml:"))
    if environment is None or _absent(put, environment.id, "environments"):
        raise _invalid(f"The environment '{asked.get('environmentId')}' was not found in the workspace.")
    if not environment.properties.get("inferenceConfig"):
        raise _invalid(
            f"The environment '{environment.id}' has no inferenceConfig: a custom container needs its liveness, "
            "readiness and scoring routes."
        )
    size = skus.find(str(asked.get("instanceType")))
    if size is None or size.name.lower() in put.emulator.unavailable_sizes:
        raise _invalid(f"The instance type '{asked.get('instanceType')}' is not available in this region.")


def _absent(put: Put, id: str, kind: str) -> bool:
    workspace = parent_of(parent_of(put.id))
    return put.emulator.resources.find(id) is None or not id.lower().startswith(f"{workspace}/{kind}/".lower())


def _probe(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    probe = {**_PROBE, **{k: v for k, v in asked.items() if v is not None}}
    for key in ("initialDelay", "period", "timeout"):
        if (seconds_of(probe[key]) or 0) < 1:
            raise _invalid(f"{name}.{key} is '{probe[key]}': at least one second.")
    if probe["failureThreshold"] < 1 or probe["successThreshold"] < 1:
        raise _invalid(f"{name}: failureThreshold and successThreshold are at least 1.")
    return probe


def _requests(asked: dict[str, Any]) -> dict[str, Any]:
    settings = {**_REQUESTS, **{k: v for k, v in asked.items() if v is not None}}
    longest = seconds_of(settings["requestTimeout"]) or 0
    if not 0 < longest <= _LONGEST_REQUEST:
        raise _invalid(
            f"requestSettings.requestTimeout is '{settings['requestTimeout']}': at most PT3M for managed endpoints."
        )
    seconds_of(settings["maxQueueWait"])
    if settings["maxConcurrentRequestsPerInstance"] < 1:
        raise _invalid("requestSettings.maxConcurrentRequestsPerInstance is at least 1.")
    return settings


def _require_quota(put: Put, instances: int) -> None:
    size = skus.find(put.properties["instanceType"])
    assert size
    needed = vcpus_of(size, instances)
    short = put.emulator.exceeded_quota(size, needed, but=put.id)
    if short is None:
        return
    limit, used = short
    message = (
        f"Not enough quota available for {size.name} in SubscriptionId {put.emulator.subscription}. "
        f"Current usage/limit: {used}/{limit}. Additional needed: {needed} "
        "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota"
    )
    # Azure nests the error like this; azure-ai-ml shows all of it.
    inner = json.dumps({"error": {"code": "Validation", "message": json.dumps({"errors": {"VmSize": [message]}})}})
    raise AzureError(
        400,
        "BadRequest",
        f"The request is invalid. OutOfQuota: {message}",
        details=[{"code": "InferencingClientCallFailed", "message": inner}],
    )


def _invalid(message: str) -> AzureError:
    return AzureError(400, "BadRequest", f"The request is invalid. {message}")
