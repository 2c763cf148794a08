"""What a subscription itself answers: itself, its regions, providers and groups, and lists beside the resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call, not_found
from azure_emulator.resource_manager import put_resource, soft_deletion
from azure_emulator.resource_manager.operations import Progress
from azure_emulator.resource_manager.providers import KNOWN_REGIONS
from azure_emulator.resource_manager.resource_ids import name_of, type_of
from azure_emulator.services import roles

if TYPE_CHECKING:
    from azure_emulator.emulator import World


def delete_group(world: World, call: Call, name: str) -> Answer:
    id = call.path.rstrip("/")
    put_resource.require(world, call.oid, "Microsoft.Resources/subscriptions/resourceGroups/delete", id)
    group = world.resources.find(id)
    if group is None:
        raise missing(id)
    group.properties["provisioningState"] = "Deleting"
    world.clock.after(2.0, lambda: soft_deletion.drop_group(world, id))
    operation = world.operations.start(
        lambda: Progress("Succeeded" if world.resources.find(id) is None else "Deleting")
    )
    address = f"https://management.azure.com/subscriptions/{world.subscription}/operationresults/{operation}"
    return Answer(None, 202, {"Location": f"{address}?api-version={call.api_version}", **RETRY_AFTER})


def group_resources(world: World, call: Call, name: str) -> Answer:
    """What lies in the group by itself: no deployment, no role, nothing that is part of another resource."""
    group = call.path.rstrip("/").rsplit("/", 1)[0]
    put_resource.require(world, call.oid, "Microsoft.Resources/subscriptions/resourceGroups/read", group)
    if world.resources.find(group) is None:
        raise missing(group)
    prefix = f"{group.lower()}/providers/"
    rows = [
        {key: r.body[key] for key in ("id", "name", "type", "location", "tags", "sku", "kind") if key in r.body}
        | {"createdTime": r.body["systemData"]["createdAt"]}
        for r in world.resources.all()
        if r.id.lower().startswith(prefix) and r.id.lower().removeprefix(prefix).count("/") == 2
    ]
    tracked = [row for row in rows if row.get("location") and row["type"] != "Microsoft.Resources/deployments"]
    return Answer({"value": tracked})


def operation_result(world: World, call: Call, id: str) -> Answer:
    """202 without a body for as long as it takes, then 200 with what came out, if anything."""
    polled = world.operations.poll(id)
    if polled.body["status"] == "InProgress":
        return Answer(None, 202, {**RETRY_AFTER, "Location": _address(call)})
    return Answer(polled.body if "properties" in polled.body else None)


def _address(call: Call) -> str:
    return f"https://{call.host}{call.path}?api-version={call.api_version}"


def one(world: World, call: Call) -> Answer:
    put_resource.require(world, call.oid, "Microsoft.Resources/subscriptions/read", call.path)
    return Answer(_subscription_body(world))


def all_of_them(world: World, call: Call) -> Answer:
    return Answer({"value": [_subscription_body(world)]})


def _subscription_body(world: World) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{world.subscription}",
        "subscriptionId": world.subscription,
        "displayName": "Local Azure",
        "tenantId": world.subscription_tenant,
        "state": world.subscription_state,
        "authorizationSource": "RoleBased",
        "subscriptionPolicies": {"quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
    }


def locations(world: World, call: Call) -> Answer:
    put_resource.require(world, call.oid, "Microsoft.Resources/subscriptions/locations/read", call.path)
    prefix = f"/subscriptions/{world.subscription}/locations"
    rows = [{"id": f"{prefix}/{r}", "name": r, "displayName": r, "regionalDisplayName": r} for r in KNOWN_REGIONS]
    return Answer({"value": rows})


def provider(world: World, call: Call, namespace: str) -> Answer:
    put_resource.require(world, call.oid, "Microsoft.Resources/subscriptions/providers/read", call.path)
    return Answer(world.providers.shown(namespace))


def provider_list(world: World, call: Call) -> Answer:
    put_resource.require(world, call.oid, "Microsoft.Resources/subscriptions/providers/read", call.path)
    return Answer({"value": world.providers.all()})


def register(world: World, call: Call, namespace: str) -> Answer:
    put_resource.require(world, call.oid, f"{namespace}/register/action", f"/subscriptions/{world.subscription}")
    return Answer(world.providers.register(namespace))


def role_definition(world: World, call: Call, scope: str, guid: str) -> Answer:
    if scope:  # a built-in role of the tenant's is everyone's to read
        put_resource.require(world, call.oid, "Microsoft.Authorization/roleDefinitions/read", scope)
    return Answer(roles.definition(guid))


def storage_keys(world: World, call: Call, account: str) -> Answer:
    id = call.path[: call.path.rindex("/")]
    resource = world.resources.find(id)
    if resource is None:
        raise not_found(id)
    put_resource.require(world, call.oid, "Microsoft.Storage/storageAccounts/listKeys/action", id)
    key = world.blobs.key_of(account)
    return Answer({"keys": [{"keyName": "key1", "value": key, "permissions": "FULL"}]})


def missing(id: str) -> AzureError:
    if type_of(id) == "Microsoft.Resources/resourceGroups":
        return AzureError(404, "ResourceGroupNotFound", f"Resource group '{name_of(id)}' could not be found.")
    return not_found(id)
