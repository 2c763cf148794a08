"""Requests of workspace connections; secrets are returned only to callers who may list secrets."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from azure_emulator.machine_learning.connections import TYPE, invalid
from azure_emulator.messages import Answer, Call, not_found
from azure_emulator.resource_manager import put_resource
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

# Listed only with includeAll: azure-ai-ml's include_data_connections.
_DATA = frozenset({"azureblob", "adlsgen2", "azureonelake"})


def _put(emulator: EmulatorState, call: Call) -> Answer:
    return _write(emulator, call, _object(call))


def _patch(emulator: EmulatorState, call: Call) -> Answer:
    old = emulator.resources.find(call.path)
    if old is None:
        raise not_found(call.path)
    asked = _object(call)
    return _write(
        emulator, call, {**old.asked, "properties": {**old.asked["properties"], **asked.get("properties", {})}}
    )


def _write(emulator: EmulatorState, call: Call, body: dict[str, Any]) -> Answer:
    with emulator.resources.lock:
        kept = put_resource.put(emulator, call.oid, call.path, body, call.api_version)
        kept.resource.hidden["credentials"] = copy.deepcopy(body["properties"].get("credentials"))
        # Also if no visible property changed.
        kept.resource.asked = copy.deepcopy(body)
        # Never 201: the SDK accepts 200 only.
        return Answer(kept.resource.shown())


def _list_secrets(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{TYPE}/listsecrets/action", id)
    resource = emulator.resources.find(id)
    if resource is None:
        raise not_found(id)
    shown = resource.shown()
    shown["properties"]["credentials"] = copy.deepcopy(resource.hidden.get("credentials"))
    return Answer(shown)


def _list(emulator: EmulatorState, call: Call, workspace: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{TYPE}/read", workspace)
    rows = [r for r in emulator.resources.children(f"{workspace}/connections") if _wanted(r, call.query)]
    return Answer({"value": [r.shown() for r in rows]})


def _wanted(connection: Resource, query: Mapping[str, str]) -> bool:
    category, target = connection.properties["category"].lower(), connection.properties["target"]
    if query.get("includeAll", "").lower() != "true" and category in _DATA:
        return False
    return query.get("category", category).lower() == category and query.get("target", target) == target


def _object(call: Call) -> dict[str, Any]:
    if not isinstance(call.body, dict) or not isinstance(call.body.get("properties"), dict):
        raise invalid(f"The body of connection '{name_of(call.path)}' needs properties.")
    return call.body


_WORKSPACE = r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+"
ROUTES: list[tuple[str, str, Any]] = [
    ("PUT", rf"{_WORKSPACE}/connections/[^/]+", _put),
    ("PATCH", rf"{_WORKSPACE}/connections/[^/]+", _patch),
    ("POST", rf"(?P<id>{_WORKSPACE}/connections/[^/]+)/listsecrets", _list_secrets),
    ("GET", rf"(?P<workspace>{_WORKSPACE})/connections", _list),
]
