"""What a subscription itself answers: itself, its regions, providers and groups, and lists beside the resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.azure_emulator import putting
from tests.azure_emulator.identities import TENANT
from tests.azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call, not_found
from tests.azure_emulator.operations import Progress
from tests.azure_emulator.providers import REGIONS
from tests.azure_emulator.resource_ids import name_of, type_of
from tests.azure_emulator.services import roles

if TYPE_CHECKING:
    from tests.azure_emulator.world import World


def delete_group(world: World, call: Call, name: str) -> Answer:
    id = call.path.rstrip("/")
    putting.require(world, call.oid, "Microsoft.Resources/subscriptions/resourceGroups/delete", id)
    group = world.resources.find(id)
    if group is None:
        raise missing(id)
    group.properties["provisioningState"] = "Deleting"
    world.clock.after(2.0, lambda: putting.drop(world, id))
    operation = world.operations.start(
        lambda: Progress("Succeeded" if world.resources.find(id) is None else "Deleting")
    )
    address = f"https://management.azure.com/subscriptions/{world.subscription}/operationresults/{operation}"
    return Answer(None, 202, {"Location": f"{address}?api-version={call.api_version}", **RETRY_AFTER})


def operation_result(world: World, call: Call, id: str) -> Answer:
    polled = world.operations.poll(id)
    done = polled.body["status"] != "InProgress"
    return Answer(None, 200 if done else 202, {} if done else {**RETRY_AFTER, "Location": _address(call)})


def _address(call: Call) -> str:
    return f"https://{call.host}{call.path}?api-version={call.api_version}"


def one(world: World, call: Call) -> Answer:
    putting.require(world, call.oid, "Microsoft.Resources/subscriptions/read", call.path)
    return Answer(_subscription_body(world))


def all_of_them(world: World, call: Call) -> Answer:
    return Answer({"value": [_subscription_body(world)]})


def _subscription_body(world: World) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{world.subscription}",
        "subscriptionId": world.subscription,
        "displayName": "Local Azure",
        "tenantId": TENANT,
        "state": "Enabled",
        "authorizationSource": "RoleBased",
        "subscriptionPolicies": {"quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
    }


def locations(world: World, call: Call) -> Answer:
    prefix = f"/subscriptions/{world.subscription}/locations"
    rows = [{"id": f"{prefix}/{r}", "name": r, "displayName": r, "regionalDisplayName": r} for r in REGIONS]
    return Answer({"value": rows})


def provider(world: World, call: Call, namespace: str) -> Answer:
    putting.require(world, call.oid, "Microsoft.Resources/subscriptions/providers/read", call.path)
    return Answer(world.providers.shown(namespace))


def provider_list(world: World, call: Call) -> Answer:
    putting.require(world, call.oid, "Microsoft.Resources/subscriptions/providers/read", call.path)
    return Answer({"value": world.providers.all()})


def register(world: World, call: Call, namespace: str) -> Answer:
    putting.require(world, call.oid, f"{namespace}/register/action", f"/subscriptions/{world.subscription}")
    return Answer(world.providers.register(namespace))


def role_definition(world: World, call: Call, guid: str) -> Answer:
    return Answer(roles.definition(guid))


def storage_keys(world: World, call: Call, account: str) -> Answer:
    id = call.path[: call.path.rindex("/")]
    resource = world.resources.find(id)
    if resource is None:
        raise not_found(id)
    putting.require(world, call.oid, "Microsoft.Storage/storageAccounts/listKeys/action", id)
    key = world.blobs.key_of(account)
    return Answer({"keys": [{"keyName": "key1", "value": key, "permissions": "FULL"}]})


def deleted_vault(world: World, call: Call, name: str) -> Answer:
    if name.lower() not in world.deleted_vaults:
        raise AzureError(404, "DeletedVaultNotFound", f"The specified deleted vault '{name}' does not exist.")
    if call.method == "POST":
        putting.require(world, call.oid, "Microsoft.KeyVault/locations/deletedVaults/purge/action", call.path)
        world.deleted_vaults.discard(name.lower())
        return Answer(None, 200)
    return Answer({"id": call.path, "name": name, "type": "Microsoft.KeyVault/deletedVaults", "properties": {}})


def missing(id: str) -> AzureError:
    if type_of(id) == "Microsoft.Resources/resourceGroups":
        return AzureError(404, "ResourceGroupNotFound", f"Resource group '{name_of(id)}' could not be found.")
    return not_found(id)
