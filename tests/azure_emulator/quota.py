"""Azure ML's own quota per VM family and region, usages, and the requests of Microsoft.Quota."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any, Literal

from tests.azure_emulator import skus
from tests.azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call
from tests.azure_emulator.operations import Progress
from tests.azure_emulator.putting import require
from tests.azure_emulator.resources import now

if TYPE_CHECKING:
    from tests.azure_emulator.world import World

TOTAL = "TotalDedicatedCores"
_TOTAL_TITLE = "Total Cluster Dedicated Regional vCPUs"
_API_VERSION = "2025-09-01"


class Quota:
    """Limits in vCPUs; a request is granted after a moment, or refused, or left waiting, as tests say."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits = dict.fromkeys(skus.FAMILIES, 100) | {TOTAL: 300}
        self.verdict: Literal["grant", "refuse", "wait"] = "grant"
        self.requests: dict[str, dict[str, Any]] = {}

    def limit(self, family: str) -> int:
        with self._lock:
            return self._limits[self._known(family)]

    def set_limit(self, family: str, vcpus: int) -> None:
        with self._lock:
            self._limits[self._known(family)] = vcpus

    def names(self) -> list[str]:
        return list(self._limits)

    def _known(self, family: str) -> str:
        found = next((name for name in self._limits if name.lower() == family.lower()), None)
        if found is None:
            raise AzureError(404, "ResourceNotFound", f"There is no quota named '{family}'.")
        return found


def title(family: str) -> str:
    return _TOTAL_TITLE if family == TOTAL else skus.FAMILIES[family]


def _usages(world: World, call: Call, location: str) -> Answer:
    world.providers.require("Microsoft.MachineLearningServices")
    require(world, call.oid, "Microsoft.MachineLearningServices/locations/usages/read", call.path)
    world.providers.require_location("Microsoft.MachineLearningServices/workspaces", location)
    prefix = (
        f"/subscriptions/{world.subscription}/providers/Microsoft.MachineLearningServices/locations/{location}/usages"
    )
    rows = [
        {
            "id": f"{prefix}/{family}",
            "type": "Microsoft.MachineLearningServices/usages",
            "unit": "Count",
            "currentValue": world.vcpus_in_use(None if family == TOTAL else family),
            "limit": world.quota.limit(family),
            "name": {"value": family, "localizedValue": title(family)},
        }
        for family in world.quota.names()
    ]
    return Answer({"value": rows})


def _quota(world: World, family: str, scope: str) -> dict[str, Any]:
    return {
        "id": f"{scope}/providers/Microsoft.Quota/quotas/{family}",
        "name": family,
        "type": "Microsoft.Quota/Quotas",
        "properties": {
            "limit": {"limitObjectType": "LimitValue", "value": world.quota.limit(family)},
            "name": {"value": family, "localizedValue": title(family)},
            "unit": "Count",
            "isQuotaApplicable": True,
            "properties": {},
        },
    }


def _get_quotas(world: World, call: Call, scope: str, family: str | None = None) -> Answer:
    world.providers.require("Microsoft.Quota")
    require(world, call.oid, "Microsoft.Quota/quotas/read", scope)
    if family:
        return Answer(_quota(world, family, scope))
    return Answer({"value": [_quota(world, name, scope) for name in world.quota.names()]})


def _get_usages(world: World, call: Call, scope: str, family: str | None = None) -> Answer:
    world.providers.require("Microsoft.Quota")
    require(world, call.oid, "Microsoft.Quota/usages/read", scope)
    names = [family] if family else world.quota.names()
    rows = [
        {
            "id": f"{scope}/providers/Microsoft.Quota/usages/{name}",
            "name": name,
            "type": "Microsoft.Quota/Usages",
            "properties": {
                "usages": {"value": world.vcpus_in_use(None if name == TOTAL else name)},
                "name": {"value": name, "localizedValue": title(name)},
                "unit": "Count",
            },
        }
        for name in names
    ]
    return Answer(rows[0] if family else {"value": rows})


def _request(world: World, call: Call, scope: str, family: str) -> Answer:
    """Files a request for a new limit; its verdict comes later."""
    world.providers.require("Microsoft.Quota")
    require(world, call.oid, "Microsoft.Quota/quotas/write", scope)
    asked = (call.body or {}).get("properties", {})
    value = asked.get("limit", {}).get("value")
    if not isinstance(value, int) or asked["limit"].get("limitObjectType") != "LimitValue":
        raise AzureError(
            400, "InvalidRequest", "properties.limit needs limitObjectType LimitValue and an integer value."
        )
    before = world.quota.limit(family)
    if value <= before and world.quota.verdict == "grant":
        world.quota.set_limit(family, value)
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
                    "name": {"value": family, "localizedValue": title(family)},
                    "limit": {"limitObjectType": "LimitValue", "value": value},
                    "provisioningState": "InProgress",
                    "unit": "Count",
                    "subRequestId": str(uuid.uuid4()),
                }
            ],
        },
    }
    world.quota.requests[id] = request
    world.clock.after(2.0, lambda: _decide(world, request, family, value))
    operation = world.operations.start(lambda: _progress(world, request, family, scope))
    headers = world.operations.headers(
        operation, world.subscription, "Microsoft.Quota", "operationStatuses", call.api_version
    )
    # The body is the request, not the quota: azure-mgmt-quota reads the final quota from the last GET.
    return Answer(
        request, 202, {**headers, "Location": f"https://management.azure.com{request['id']}?api-version={_API_VERSION}"}
    )


def _decide(world: World, request: dict[str, Any], family: str, value: int) -> None:
    properties = request["properties"]
    if world.quota.verdict == "wait":
        return
    granted = world.quota.verdict == "grant"
    if granted:
        world.quota.set_limit(family, value)
    state = "Succeeded" if granted else "Failed"
    message = (
        "Request completed." if granted else "The request was not approved: no capacity for this family in the region."
    )
    properties.update(provisioningState=state, message=message)
    for part in properties["value"]:
        part.update(provisioningState=state, message=message)
    if not granted:
        properties["error"] = {"code": "ContactSupport", "message": message}


def _progress(world: World, request: dict[str, Any], family: str, scope: str) -> Progress:
    properties = request["properties"]
    done = properties["provisioningState"] == "Succeeded"
    return Progress(
        properties["provisioningState"],
        properties.get("error"),
        _quota(world, family, scope)["properties"] if done else None,
    )


def _get_requests(world: World, call: Call, scope: str, id: str | None = None) -> Answer:
    world.providers.require("Microsoft.Quota")
    require(world, call.oid, "Microsoft.Quota/quotaRequests/read", scope)
    if id is None:
        return Answer({"value": list(world.quota.requests.values())})
    if id.lower() not in world.quota.requests:
        raise AzureError(404, "ResourceNotFound", f"There is no quota request '{id}'.")
    return Answer(world.quota.requests[id.lower()], 200, RETRY_AFTER)


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
