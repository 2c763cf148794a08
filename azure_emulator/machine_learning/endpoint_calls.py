"""Requests of online endpoints and deployments, with their keys, tokens and logs."""

from __future__ import annotations

import time
from typing import Any

from azure_emulator.machine_learning import endpoint_writes as writes
from azure_emulator.machine_learning.endpoint_writes import existing
from azure_emulator.messages import Answer, AzureError, Call, object_of
from azure_emulator.resource_manager import put_resource, skus
from azure_emulator.resource_manager.resource_ids import name_of, type_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.scoring.access import AUDIENCE
from azure_emulator.scoring.live_endpoints import new_key
from azure_emulator.state import EmulatorState

_LOGS = ("InferenceServer", "StorageInitializer", None)
_TOKEN_SECONDS = 3600


def _list_keys(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{type_of(id)}/listKeys/action", id)
    _require_mode(existing(emulator, id), "Key", "listKeys")
    live = emulator.scoring.of(id)
    return Answer(dict(live.keys) if live else {})


def _regenerate_keys(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{type_of(id)}/regenerateKeys/action", id)
    asked = object_of(call)
    kind = {"primary": "primaryKey", "secondary": "secondaryKey"}.get(str(asked.get("keyType")).lower())
    if kind is None or set(asked) - {"keyType", "keyValue"}:
        raise AzureError(400, "BadRequest", "The body takes keyType (Primary or Secondary) and keyValue.")
    with emulator.resources.lock:
        resource, live = existing(emulator, id), emulator.scoring.of(id)
        _require_mode(resource, "Key", "regenerateKeys")
        writes.require_idle(emulator, id)
        assert live
        live.keys = {**live.keys, kind: asked.get("keyValue") or new_key()}
        operation = writes.begin(emulator, call, resource, "Updating")
    emulator.clock.after(writes.ENDPOINT_SECONDS, lambda: writes.end_endpoint(emulator, id, operation))
    return Answer(None, 202, operation.headers)


def _token(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{type_of(id)}/token/action", id)
    resource = existing(emulator, id)
    if resource.properties["authMode"] == "Key":
        raise _wrong_mode(resource, "token")
    expiry = int(time.time()) + _TOKEN_SECONDS
    return Answer(
        {
            "accessToken": emulator.tokens.issue(call.oid, AUDIENCE, seconds=_TOKEN_SECONDS),
            "expiryTimeUtc": expiry,
            "refreshAfterTimeUtc": expiry - _TOKEN_SECONDS // 2,
            "tokenType": "Bearer",
        }
    )


def _logs(emulator: EmulatorState, call: Call, id: str, endpoint: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{type_of(id)}/getLogs/action", id)
    existing(emulator, id)
    asked = call.body or {}
    kind, lines = asked.get("containerType"), asked.get("tail")
    if kind not in _LOGS or (lines is not None and not isinstance(lines, int)):
        raise AzureError(400, "BadRequest", "containerType is InferenceServer or StorageInitializer, tail a number.")
    live = emulator.scoring.of(endpoint)
    slot = live.deployments.get(name_of(id)) if live else None
    if kind == "StorageInitializer":
        return Answer({"content": "The model's files are mounted." if slot and slot.container else ""})
    instance = f"Instance status:\n{existing(emulator, id).state}\n\nContainer logs:\n"
    return Answer({"content": instance + (slot.tail(lines or 50) if slot else "")})


def _skus(emulator: EmulatorState, call: Call, id: str, endpoint: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{type_of(id)}/read", id)
    size = skus.find(existing(emulator, id).properties["instanceType"])
    capacity = {"minimum": 1, "maximum": 50, "default": 1, "scaleType": "Manual"}
    kind = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments"
    name = {"name": "Default", "tier": "Standard", "size": size.name if size else None}
    return Answer({"value": [{"resourceType": kind, "sku": name, "capacity": capacity}]})


def _require_mode(resource: Resource, mode: str, action: str) -> None:
    if resource.properties["authMode"] != mode:
        raise _wrong_mode(resource, action)


def _wrong_mode(resource: Resource, action: str) -> AzureError:
    return AzureError(
        400,
        "BadRequest",
        f"The request is invalid. The endpoint '{name_of(resource.id)}' has the authentication mode "
        f"{resource.properties['authMode']}, for which there is no {action}.",
    )


_WORKSPACE = r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+"
_ENDPOINT = rf"(?P<id>{_WORKSPACE}/onlineEndpoints/[^/]+)"
_DEPLOYMENT = rf"(?P<id>(?P<endpoint>{_WORKSPACE}/onlineEndpoints/[^/]+)/deployments/[^/]+)"
ROUTES: list[tuple[str, str, Any]] = [
    ("PUT", _ENDPOINT, writes.put_endpoint),
    ("PATCH", _ENDPOINT, writes.patch_endpoint),
    ("DELETE", _ENDPOINT, writes.delete_endpoint),
    ("POST", f"{_ENDPOINT}/listKeys", _list_keys),
    ("POST", f"{_ENDPOINT}/regenerateKeys", _regenerate_keys),
    ("POST", f"{_ENDPOINT}/token", _token),
    ("PUT", _DEPLOYMENT, writes.put_deployment),
    ("PATCH", _DEPLOYMENT, writes.patch_deployment),
    ("DELETE", _DEPLOYMENT, writes.delete_deployment),
    ("POST", f"{_DEPLOYMENT}/getLogs", _logs),
    ("GET", f"{_DEPLOYMENT}/skus", _skus),
]
