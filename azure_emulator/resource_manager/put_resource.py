"""Puts and deletes resources: ARM's checks for all types, then the type's own."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import (
    group_of,
    name_of,
    parent_of,
    plain,
    provider_of,
    subscription_of,
    type_of,
)
from azure_emulator.resource_manager.resource_types import Put
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.services import KINDS
from azure_emulator.state import EmulatorState

_NOT_STORED = ("id", "name", "type", "apiVersion", "dependsOn", "scope", "comments", "condition")


@dataclass(frozen=True)
class PutResult:
    """A resource after its PUT; `changed` is False if the PUT changed nothing."""

    resource: Resource
    created: bool
    changed: bool


def require(emulator: EmulatorState, oid: str, action: str, scope: str) -> None:
    """Raise AuthorizationFailed unless the principal may do the action at the scope."""
    if not emulator.authorization.allows(oid, action, scope):
        principal = emulator.directory.find(oid)
        name = principal.name if principal else oid
        raise AzureError(
            403,
            "AuthorizationFailed",
            f"The client '{name}' with object id '{oid}' does not have authorization to perform action '{action}' over "
            f"scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your "
            "credentials.",
        )


def check(emulator: EmulatorState, id: str, body: dict[str, Any], api_version: str) -> None:
    """Check namespace, location, name and schema, as ARM does before the service. Raises AzureError."""
    type = type_of(id)
    kind = KINDS.get(type.lower())
    if subscription_of(id) and subscription_of(id) != emulator.subscription:
        raise AzureError(404, "SubscriptionNotFound", f"The subscription '{subscription_of(id)}' could not be found.")
    emulator.providers.require(provider_of(id))
    if kind is None:
        raise AzureError(
            404,
            "InvalidResourceType",
            f"The resource type '{type}' could not be found in the local Azure's namespaces.",
        )
    kind.require_name(name_of(id))
    if kind.located:
        if not body.get("location"):
            raise AzureError(
                400, "LocationRequired", f"The location property is required for this definition ({type})."
            )
        emulator.providers.require_location(type, body["location"])
    emulator.schemas.check(type, api_version, body)


def put(emulator: EmulatorState, oid: str, id: str, body: dict[str, Any], api_version: str) -> PutResult:
    """Create or update a resource, which is Creating for as long as its kind takes. Raises AzureError."""
    asked = {key: copy.deepcopy(value) for key, value in body.items() if key not in _NOT_STORED}
    require(emulator, oid, f"{type_of(id)}/write", id)
    check(emulator, id, asked, api_version)
    kind = KINDS[type_of(id).lower()]
    with emulator.resources.lock:
        _require_parents(emulator, id)
        old = emulator.resources.find(id)
        _require_same_place(asked, old)
        request = Put(emulator, id, copy.deepcopy(asked), old, oid)
        kind.complete(request)
        if old and _same(request.body, old.body):
            return PutResult(old, created=False, changed=False)
        if kind.seconds:
            request.properties["provisioningState"] = "Updating" if old else "Creating"
        elif type_of(id).lower() != "microsoft.authorization/roleassignments":
            request.properties["provisioningState"] = "Succeeded"
        resource = emulator.resources.keep(id, request.body, oid, asked)

    def settle() -> None:
        kind.settle(emulator, resource)
        if resource.properties.get("provisioningState") in ("Creating", "Updating"):
            resource.properties["provisioningState"] = "Succeeded"

    if kind.seconds:
        emulator.clock.after(kind.seconds, settle)
    else:
        settle()
    return PutResult(resource, created=old is None, changed=True)


def drop(emulator: EmulatorState, id: str) -> bool:
    """Delete the resource and everything below it. Return whether it existed."""
    dropped = emulator.resources.drop(id)
    for resource in dropped:
        kind = KINDS.get(resource.body["type"].lower())
        if kind:
            kind.dropped(emulator, resource)
    return bool(dropped)


def _require_parents(emulator: EmulatorState, id: str) -> None:
    group = group_of(id)
    if group and group.lower() != id.lower() and emulator.resources.find(group) is None:
        raise AzureError(404, "ResourceGroupNotFound", f"Resource group '{name_of(group)}' could not be found.")
    parent = parent_of(id)
    if type_of(id).lower().endswith("/versions"):  # a PUT of a version creates its asset
        parent = parent_of(parent)
    if parent and type_of(parent) != "Microsoft.Resources/subscriptions" and emulator.resources.find(parent) is None:
        raise AzureError(
            404,
            "ParentResourceNotFound",
            f"Failed to perform 'write' on resource(s) of type '{type_of(id)}', because the parent resource '{parent}' "
            "could not be found.",
        )


def _require_same_place(asked: dict[str, Any], old: Resource | None) -> None:
    if old and asked.get("location") and old.body.get("location"):
        before, now = plain(str(old.body["location"])), plain(str(asked["location"]))
        if before != now and type_of(old.id) == "Microsoft.Resources/resourceGroups":
            raise AzureError(
                409,
                "InvalidResourceGroupLocation",
                f"Invalid resource group location '{now}'. The Resource group already exists in location '{before}'.",
            )
        if before != now:
            raise AzureError(
                409,
                "InvalidResourceLocation",
                f"The resource '{old.body['name']}' already exists in location '{before}' in resource group "
                f"'{name_of(group_of(old.id) or old.id)}'. A resource with the same name cannot be created in location "
                f"'{now}'. Please select a new resource name.",
            )


def _same(new: dict[str, Any], old: dict[str, Any]) -> bool:
    return _comparable(new) == _comparable(old)


def _comparable(body: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in body.items() if k not in ("id", "name", "type", "systemData") and v is not None}
    properties = {k: v for k, v in (kept.get("properties") or {}).items() if k != "provisioningState" and v is not None}
    return {**kept, "properties": properties}
