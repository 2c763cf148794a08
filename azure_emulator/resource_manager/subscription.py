"""Requests about the subscription: its regions, providers, resource groups, role definitions and storage keys."""

from __future__ import annotations

from typing import Any

from azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call, not_found
from azure_emulator.resource_manager import put_resource, soft_deletion
from azure_emulator.resource_manager.operations import Progress
from azure_emulator.resource_manager.providers import KNOWN_REGIONS
from azure_emulator.resource_manager.resource_ids import name_of, type_of
from azure_emulator.services import roles
from azure_emulator.state import EmulatorState


def delete_group(emulator: EmulatorState, call: Call, name: str) -> Answer:
    id = call.path.rstrip("/")
    put_resource.require(emulator, call.oid, "Microsoft.Resources/subscriptions/resourceGroups/delete", id)
    group = emulator.resources.find(id)
    if group is None:
        raise missing(id)
    group.properties["provisioningState"] = "Deleting"
    emulator.clock.after(2.0, lambda: soft_deletion.drop_group(emulator, id))
    operation = emulator.operations.start(
        lambda: Progress("Succeeded" if emulator.resources.find(id) is None else "Deleting")
    )
    address = f"https://management.azure.com/subscriptions/{emulator.subscription}/operationresults/{operation}"
    return Answer(None, 202, {"Location": f"{address}?api-version={call.api_version}", **RETRY_AFTER})


def group_resources(emulator: EmulatorState, call: Call, name: str) -> Answer:
    """List the top-level resources of the group, without deployments, roles and child resources."""
    group = call.path.rstrip("/").rsplit("/", 1)[0]
    put_resource.require(emulator, call.oid, "Microsoft.Resources/subscriptions/resourceGroups/read", group)
    if emulator.resources.find(group) is None:
        raise missing(group)
    prefix = f"{group.lower()}/providers/"
    rows = [
        {key: r.body[key] for key in ("id", "name", "type", "location", "tags", "sku", "kind") if key in r.body}
        | {"createdTime": r.body["systemData"]["createdAt"]}
        for r in emulator.resources.all()
        if r.id.lower().startswith(prefix) and r.id.lower().removeprefix(prefix).count("/") == 2
    ]
    tracked = [row for row in rows if row.get("location") and row["type"] != "Microsoft.Resources/deployments"]
    return Answer({"value": tracked})


def operation_result(emulator: EmulatorState, call: Call, id: str) -> Answer:
    """Return 202 without a body while the operation runs, then 200 with its result, if any."""
    polled = emulator.operations.poll(id)
    if polled.body["status"] == "InProgress":
        return Answer(None, 202, {**RETRY_AFTER, "Location": _address(call)})
    return Answer(polled.body if "properties" in polled.body else None)


def _address(call: Call) -> str:
    return f"https://{call.host}{call.path}?api-version={call.api_version}"


def one(emulator: EmulatorState, call: Call) -> Answer:
    put_resource.require(emulator, call.oid, "Microsoft.Resources/subscriptions/read", call.path)
    return Answer(_subscription_body(emulator))


def all_of_them(emulator: EmulatorState, call: Call) -> Answer:
    return Answer({"value": [_subscription_body(emulator)]})


def _subscription_body(emulator: EmulatorState) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{emulator.subscription}",
        "subscriptionId": emulator.subscription,
        "displayName": "Local Azure",
        "tenantId": emulator.subscription_tenant,
        "state": emulator.subscription_state,
        "authorizationSource": "RoleBased",
        "subscriptionPolicies": {"quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
    }


def locations(emulator: EmulatorState, call: Call) -> Answer:
    put_resource.require(emulator, call.oid, "Microsoft.Resources/subscriptions/locations/read", call.path)
    prefix = f"/subscriptions/{emulator.subscription}/locations"
    rows = [{"id": f"{prefix}/{r}", "name": r, "displayName": r, "regionalDisplayName": r} for r in KNOWN_REGIONS]
    return Answer({"value": rows})


def provider(emulator: EmulatorState, call: Call, namespace: str) -> Answer:
    put_resource.require(emulator, call.oid, "Microsoft.Resources/subscriptions/providers/read", call.path)
    return Answer(emulator.providers.shown(namespace))


def provider_list(emulator: EmulatorState, call: Call) -> Answer:
    put_resource.require(emulator, call.oid, "Microsoft.Resources/subscriptions/providers/read", call.path)
    return Answer({"value": emulator.providers.all()})


def register(emulator: EmulatorState, call: Call, namespace: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{namespace}/register/action", f"/subscriptions/{emulator.subscription}")
    return Answer(emulator.providers.register(namespace))


def role_definition(emulator: EmulatorState, call: Call, scope: str, guid: str) -> Answer:
    if scope:  # without a scope, everyone may read built-in roles
        put_resource.require(emulator, call.oid, "Microsoft.Authorization/roleDefinitions/read", scope)
    return Answer(roles.definition(guid))


def storage_keys(emulator: EmulatorState, call: Call, account: str) -> Answer:
    id = call.path[: call.path.rindex("/")]
    resource = emulator.resources.find(id)
    if resource is None:
        raise not_found(id)
    put_resource.require(emulator, call.oid, "Microsoft.Storage/storageAccounts/listKeys/action", id)
    key = emulator.blobs.key_of(account)
    return Answer({"keys": [{"keyName": "key1", "value": key, "permissions": "FULL"}]})


def missing(id: str) -> AzureError:
    if type_of(id) == "Microsoft.Resources/resourceGroups":
        return AzureError(404, "ResourceGroupNotFound", f"Resource group '{name_of(id)}' could not be found.")
    return not_found(id)
