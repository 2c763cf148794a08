"""Soft deletion: delete, list and purge workspaces and vaults."""

from __future__ import annotations

import datetime as dt
from typing import Any

from azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call
from azure_emulator.resource_manager import put_resource
from azure_emulator.resource_manager.operations import Progress
from azure_emulator.resource_manager.resource_ids import provider_of
from azure_emulator.state import EmulatorState

_ML = "Microsoft.MachineLearningServices/workspaces"
_LOGS = "Microsoft.OperationalInsights/workspaces"
_RETENTION_DAYS = 7


def drop_group(emulator: EmulatorState, id: str) -> None:
    """Delete a resource group and its contents, which soft-deletes vaults and workspaces."""
    for kind, kept in ((_ML, emulator.soft_deleted.workspaces), (_LOGS, emulator.soft_deleted.logs)):
        kept.update(resource.id.lower() for resource in emulator.resources.of_type(kind, id))
    put_resource.drop(emulator, id)


def delete_workspace(emulator: EmulatorState, call: Call) -> Answer:
    """Soft-delete a workspace (Azure: 14 days). forceToPurge=true deletes it for good, also after a soft deletion."""
    return _delete(emulator, call, _ML, emulator.soft_deleted.workspaces, call.query.get("forceToPurge"))


def delete_logs(emulator: EmulatorState, call: Call) -> Answer:
    """Soft-delete a Log Analytics workspace (Azure: 14 days); force=true deletes it for good."""
    return _delete(emulator, call, _LOGS, emulator.soft_deleted.logs, call.query.get("force"))


def _delete(emulator: EmulatorState, call: Call, kind: str, kept: set[str], force: str | None) -> Answer:
    id, forever = call.path.rstrip("/").lower(), str(force).lower() == "true"
    put_resource.require(emulator, call.oid, f"{kind}/delete", id)
    resource = emulator.resources.find(id)
    if resource is None:
        if forever:
            kept.discard(id)
        return Answer(status=204)
    resource.properties["provisioningState"] = "Deleting"

    def finish() -> None:
        if emulator.resources.find(id) is not None:
            put_resource.drop(emulator, id)
            (kept.discard if forever else kept.add)(id)

    emulator.clock.after(2.0, finish)
    operation = emulator.operations.start(
        lambda: Progress("Succeeded" if emulator.resources.find(id) is None else "Deleting")
    )
    return Answer(
        None,
        202,
        emulator.operations.headers(
            operation, emulator.subscription, provider_of(id), "workspaceOperationsStatus", call.api_version
        ),
    )


def deleted_vaults(emulator: EmulatorState, call: Call) -> Answer:
    put_resource.require(emulator, call.oid, "Microsoft.KeyVault/deletedVaults/read", call.path)
    return Answer({"value": [_shown(emulator, body) for body in list(emulator.soft_deleted.vaults.values())]})


def deleted_vault(emulator: EmulatorState, call: Call, location: str, name: str) -> Answer:
    put_resource.require(emulator, call.oid, "Microsoft.KeyVault/locations/deletedVaults/read", call.path)
    return Answer(_shown(emulator, emulator.soft_deleted.vault(name)))


def purge_vault(emulator: EmulatorState, call: Call, location: str, name: str) -> Answer:
    put_resource.require(emulator, call.oid, "Microsoft.KeyVault/locations/deletedVaults/purge/action", call.path)
    body = emulator.soft_deleted.vault(name)
    if body["properties"].get("enablePurgeProtection"):
        raise AzureError(405, "MethodNotAllowed", 'Operation "DeletedVaultPurge" is not allowed.')
    emulator.clock.after(1.0, lambda: emulator.soft_deleted.vaults.pop(name.lower(), None))
    operation = emulator.operations.start(
        lambda: Progress("InProgress" if name.lower() in emulator.soft_deleted.vaults else "Succeeded")
    )
    address = (
        f"https://management.azure.com/subscriptions/{emulator.subscription}/providers/Microsoft.KeyVault/locations/"
        f"{location}/operationResults/{operation}?api-version={call.api_version}"
    )
    return Answer(None, 202, {"Location": address, **RETRY_AFTER})


def _shown(emulator: EmulatorState, body: dict[str, Any]) -> dict[str, Any]:
    today = dt.datetime.now(dt.UTC)
    location = body["location"]
    return {
        "id": f"/subscriptions/{emulator.subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/"
        f"{body['name']}",
        "name": body["name"],
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": body["id"],
            "location": location,
            "tags": body.get("tags") or {},
            "deletionDate": today.isoformat(),
            "scheduledPurgeDate": (today + dt.timedelta(days=_RETENTION_DAYS)).isoformat(),
            "purgeProtectionEnabled": body["properties"].get("enablePurgeProtection"),
        },
    }


_GROUPED = r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers"
_VAULTS = r"/subscriptions/[^/]+/providers/Microsoft\.KeyVault"
_DELETED = _VAULTS + r"/locations/(?P<location>[^/]+)/deletedVaults/(?P<name>[^/]+)"
ROUTES = [
    ("DELETE", rf"{_GROUPED}/Microsoft\.MachineLearningServices/workspaces/[^/]+", delete_workspace),
    ("DELETE", rf"{_GROUPED}/Microsoft\.OperationalInsights/workspaces/[^/]+", delete_logs),
    ("GET", f"{_VAULTS}/deletedVaults", deleted_vaults),
    ("GET", _DELETED, deleted_vault),
    ("POST", f"{_DELETED}/purge", purge_vault),
]
