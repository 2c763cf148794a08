"""Workspaces and their system datastores."""

from __future__ import annotations

import uuid

from azure_emulator.identity.identities import TENANT
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.builtin_roles import role_id
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.resource_manager.resource_types import Put
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

_DEPENDENCIES = {
    "storageAccount": "Microsoft.Storage/storageAccounts",
    "keyVault": "Microsoft.KeyVault/vaults",
    "applicationInsights": "Microsoft.Insights/components",
}
_PLATFORM = "Azure Machine Learning"


def complete(put: Put) -> None:
    """Check the workspace's dependent resources and add its id, addresses and identity."""
    if not put.old and put.id.lower() in put.emulator.soft_deleted.workspaces:
        raise AzureError(
            400, "BadRequest", "Soft-deleted workspace exists. Please purge or recover it. https://aka.ms/wsoftdelete"
        )
    for key, type in _DEPENDENCIES.items():
        _require_dependency(put, key, type)
    if put.properties.get("containerRegistry"):
        _require_dependency(put, "containerRegistry", "Microsoft.ContainerRegistry/registries")
    _give_identity(put)
    region = put.body["location"]
    put.default(publicNetworkAccess="Enabled", friendlyName=put.name, hbiWorkspace=False, v1LegacyMode=False)
    put.default(systemDatastoresAuthMode="accesskey")
    put.properties.update(
        workspaceId=put.stored_or_new("workspaceId", lambda: str(uuid.uuid4())),
        discoveryUrl=f"https://{region}.api.azureml.ms/discovery",
        mlFlowTrackingUri=f"azureml://{region}.api.azureml.ms/mlflow/v1.0{put.id}",
        tenantId=TENANT,
        storageHnsEnabled=False,
    )


def _require_dependency(put: Put, key: str, type: str) -> None:
    id = put.properties.get(key)
    if not id:
        raise AzureError(
            400, "ValidationError", f"Missing dependent resources in workspace json: {key}.", target="workspace"
        )
    resource = put.emulator.resources.find(id)
    if resource is None or resource.body["type"].lower() != type.lower():
        raise AzureError(
            400, "ValidationError", f"Workspace dependent resource '{key}' was not found: {id}.", target="workspace"
        )


def _give_identity(put: Put) -> None:
    identity = put.body.get("identity") or {}
    if "SystemAssigned" not in str(identity.get("type", "")):
        raise AzureError(
            400, "ValidationError", "The workspace needs identity.type SystemAssigned here.", target="identity"
        )
    known = (put.old.body.get("identity") or {}) if put.old else {}
    oid = known.get("principalId") or put.emulator.directory.new_identity(put.name).oid
    put.body["identity"] = {**identity, "principalId": oid, "tenantId": TENANT}


def settle(emulator: EmulatorState, workspace: Resource) -> None:
    """Create the system datastores and containers, and assign roles to the workspace's identity."""
    account_id = workspace.properties["storageAccount"]
    account, oid = name_of(account_id), workspace.body["identity"]["principalId"]
    for role in ("Contributor", "Storage Blob Data Contributor"):
        emulator.authorization.give(f"{workspace.id}#{role}", oid, role_id(role), account_id, delay=0)
    emulator.authorization.give(f"{workspace.id}#self", oid, role_id("Contributor"), workspace.id, delay=0)
    identity_based = workspace.properties["systemDatastoresAuthMode"].lower() == "identity"
    container = f"azureml-blobstore-{workspace.properties['workspaceId']}"
    for name, target in (("workspaceblobstore", container), ("workspaceartifactstore", "azureml")):
        emulator.blobs.ensure_container(account, target)
        body = {
            "properties": {
                "datastoreType": "AzureBlob",
                "accountName": account,
                "containerName": target,
                "endpoint": "core.windows.net",
                "protocol": "https",
                "isDefault": name == "workspaceblobstore",
                "subscriptionId": emulator.subscription,
                "resourceGroup": name_of(account_id.split("/providers/")[0]),
                "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity" if identity_based else "None",
                "credentials": {"credentialsType": "None" if identity_based else "AccountKey"},
                "description": None,
                "tags": {},
                "properties": {},
            }
        }
        emulator.resources.keep(f"{workspace.id}/datastores/{name}", body, _PLATFORM, {})


def complete_datastore(put: Put) -> None:
    put.default(isDefault=False, protocol="https", endpoint="core.windows.net")
    credentials = put.properties.get("credentials") or {"credentialsType": "None"}
    put.properties["credentials"] = {"credentialsType": credentials.get("credentialsType", "None")}


def dropped(emulator: EmulatorState, workspace: Resource) -> None:
    """Cancel the workspace's jobs and free their names."""
    for id in emulator.jobs.ids_in(workspace.id):
        emulator.runner.cancel(id)
        emulator.runner.free(id)
        emulator.jobs.forget(id)
