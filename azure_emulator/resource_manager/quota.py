"""vCPU quotas of Azure ML and Compute: Azure ML's usages, and quotas and requests of Microsoft.Quota.

Each provider and family has one limit for all regions, and usages count the machines of all regions.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call, object_of
from azure_emulator.resource_manager import skus
from azure_emulator.resource_manager.operations import Progress
from azure_emulator.resource_manager.put_resource import require
from azure_emulator.resource_manager.quota_limits import COMPUTE, ML, TITLES, known
from azure_emulator.resource_manager.resource_ids import plain
from azure_emulator.resource_manager.resources import now
from azure_emulator.state import EmulatorState

_API_VERSION = "2025-09-01"


def _usages(emulator: EmulatorState, call: Call, location: str) -> Answer:
    emulator.providers.require("Microsoft.MachineLearningServices")
    require(emulator, call.oid, "Microsoft.MachineLearningServices/locations/usages/read", call.path)
    emulator.providers.require_location("Microsoft.MachineLearningServices/workspaces", location)
    rows = [
        _usage(place, name, limit, emulator.vcpus_in_use(name, under))
        for name in skus.TITLES
        for place, limit, under in _places(emulator, location, name)
    ]
    return Answer({"value": rows})


def _places(emulator: EmulatorState, location: str, name: str) -> Iterator[tuple[str, int, str]]:
    """Yield the rows of one quota: id, limit, and the id below which machines count.

    Azure lists the subscription first, then workspaces and their clusters, which have no own limit here.
    """
    whole = f"/subscriptions/{emulator.subscription}/providers/{ML}/locations/{location}/usages/{name}"
    yield whole, emulator.quota.limit(name), ""
    for workspace in emulator.resources.of_type(f"{ML}/workspaces"):
        if plain(workspace.body["location"]) != plain(location):
            continue
        yield f"{workspace.id}/usages", -1, workspace.id
        for cluster in emulator.resources.children(f"{workspace.id}/computes"):
            size = skus.find(cluster.properties["properties"]["vmSize"])
            if size and size.counts_as(name):
                yield f"{cluster.id}/usages", -1, cluster.id


def _usage(id: str, name: str, limit: int, used: int) -> dict[str, Any]:
    # Both are the title, as in the sample of "Usages - List", 2025-09-01: only Microsoft.Quota uses the family's key.
    title = skus.TITLES[name]
    return {
        "id": id,
        "type": f"{ML}/usages",
        "unit": "Count",
        "currentValue": used,
        "limit": limit,
        "name": {"value": title, "localizedValue": title},
    }


def _provider(scope: str) -> str:
    return COMPUTE if f"/{COMPUTE}/".lower() in scope.lower() else ML


def _quota(emulator: EmulatorState, family: str, scope: str) -> dict[str, Any]:
    provider = _provider(scope)
    name = known(family, provider)
    return {
        "id": f"{scope}/providers/Microsoft.Quota/quotas/{name}",
        "name": name,
        "type": "Microsoft.Quota/Quotas",
        "properties": {
            "limit": {"limitObjectType": "LimitValue", "value": emulator.quota.limit(name, provider)},
            "name": {"value": name, "localizedValue": TITLES[provider][name]},
            "unit": "Count",
            "isQuotaApplicable": True,
            "properties": {},
        },
    }


def _get_quotas(emulator: EmulatorState, call: Call, scope: str, family: str | None = None) -> Answer:
    emulator.providers.require("Microsoft.Quota")
    require(emulator, call.oid, "Microsoft.Quota/quotas/read", scope)
    if family:
        return Answer(_quota(emulator, family, scope))
    return Answer({"value": [_quota(emulator, name, scope) for name in TITLES[_provider(scope)]]})


def _get_usages(emulator: EmulatorState, call: Call, scope: str, family: str | None = None) -> Answer:
    emulator.providers.require("Microsoft.Quota")
    require(emulator, call.oid, "Microsoft.Quota/usages/read", scope)
    provider = _provider(scope)
    rows = [
        {
            "id": f"{scope}/providers/Microsoft.Quota/usages/{name}",
            "name": name,
            "type": "Microsoft.Quota/Usages",
            "properties": {
                # Azure ML's machines do not count as Compute usage.
                "usages": {"value": emulator.vcpus_in_use(name) if provider == ML else 0},
                "name": {"value": name, "localizedValue": TITLES[provider][name]},
                "unit": "Count",
            },
        }
        for name in ([known(family, provider)] if family else TITLES[provider])
    ]
    return Answer(rows[0] if family else {"value": rows})


def _request(emulator: EmulatorState, call: Call, scope: str, family: str) -> Answer:
    """Submit a request for a new limit; it is decided later."""
    emulator.providers.require("Microsoft.Quota")
    require(emulator, call.oid, "Microsoft.Quota/quotas/write", scope)
    emulator.schemas.check("Microsoft.Quota/quotas", call.api_version, object_of(call))
    asked = call.body.get("properties") or {}
    value = (asked.get("limit") or {}).get("value")
    if not isinstance(value, int) or asked["limit"].get("limitObjectType") != "LimitValue":
        raise AzureError(
            400, "InvalidRequest", "properties.limit needs limitObjectType LimitValue and an integer value."
        )
    provider = _provider(scope)
    family = known(family, provider)
    if value <= emulator.quota.limit(family, provider) and emulator.quota.verdict == "grant":
        emulator.quota.set_limit(family, value, provider)
    id = str(uuid.uuid4())
    request = {
        "id": f"{scope}/providers/Microsoft.Quota/quotaRequests/{id}",
        "name": id,
        "type": "Microsoft.Quota/quotaRequests",
        "properties": {
            "provisioningState": "InProgress",
            "message": "Request submitted.",
            "requestSubmitTime": now(),
            "value": [
                {
                    "name": {"value": family, "localizedValue": TITLES[provider][family]},
                    "limit": {"limitObjectType": "LimitValue", "value": value},
                    "provisioningState": "InProgress",
                    "unit": "Count",
                    "subRequestId": str(uuid.uuid4()),
                }
            ],
        },
    }
    emulator.quota.requests[id] = request
    emulator.clock.after(2.0, lambda: _decide(emulator, request, family, value, provider))
    operation = emulator.operations.start(lambda: _progress(emulator, request, family, scope))
    headers = emulator.operations.headers(
        operation, emulator.subscription, "Microsoft.Quota", "operationStatuses", call.api_version
    )
    # The body is the request, not the quota: azure-mgmt-quota reads the final quota from the last GET.
    return Answer(
        request, 202, {**headers, "Location": f"https://management.azure.com{request['id']}?api-version={_API_VERSION}"}
    )


def _decide(emulator: EmulatorState, request: dict[str, Any], family: str, value: int, provider: str) -> None:
    properties = request["properties"]
    if emulator.quota.verdict == "wait":
        return
    granted = emulator.quota.verdict == "grant"
    if granted:
        emulator.quota.set_limit(family, value, provider)
    state = "Succeeded" if granted else "Failed"
    message = (
        "Request completed." if granted else "The request was not approved: no capacity for this family in the region."
    )
    properties.update(provisioningState=state, message=message)
    for part in properties["value"]:
        part.update(provisioningState=state, message=message)
    if not granted:
        properties["error"] = {"code": "ContactSupport", "message": message}


def _progress(emulator: EmulatorState, request: dict[str, Any], family: str, scope: str) -> Progress:
    properties = request["properties"]
    done = properties["provisioningState"] == "Succeeded"
    return Progress(
        properties["provisioningState"],
        properties.get("error"),
        _quota(emulator, family, scope)["properties"] if done else None,
    )


def _get_requests(emulator: EmulatorState, call: Call, scope: str, id: str | None = None) -> Answer:
    emulator.providers.require("Microsoft.Quota")
    require(emulator, call.oid, "Microsoft.Quota/quotaRequests/read", scope)
    if id is None:
        return Answer(
            {"value": [r for r in emulator.quota.requests.values() if r["id"].lower().startswith(f"{scope}/".lower())]}
        )
    if id.lower() not in emulator.quota.requests:
        raise AzureError(404, "ResourceNotFound", f"There is no quota request '{id}'.")
    return Answer(emulator.quota.requests[id.lower()], 200, RETRY_AFTER)


_SCOPE = r"(?P<scope>/subscriptions/[^/]+/providers/Microsoft\.(?:MachineLearningServices|Compute)/locations/[^/]+)"
_QUOTA = _SCOPE + r"/providers/Microsoft\.Quota"
ROUTES = [
    (
        "GET",
        r"/subscriptions/[^/]+/providers/Microsoft\.MachineLearningServices/locations/(?P<location>[^/]+)/usages",
        _usages,
    ),
    ("GET", f"{_QUOTA}/quotas", _get_quotas),
    ("GET", f"{_QUOTA}/quotas/(?P<family>[^/]+)", _get_quotas),
    ("PUT PATCH", f"{_QUOTA}/quotas/(?P<family>[^/]+)", _request),
    ("GET", f"{_QUOTA}/usages", _get_usages),
    ("GET", f"{_QUOTA}/usages/(?P<family>[^/]+)", _get_usages),
    ("GET", f"{_QUOTA}/quotaRequests", _get_requests),
    ("GET", f"{_QUOTA}/quotaRequests/(?P<id>[^/]+)", _get_requests),
]
