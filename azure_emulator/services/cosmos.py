"""Cosmos DB accounts, databases, containers, and the role assignments of its data plane."""

import uuid

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.builtin_roles import COSMOS_ROLES
from azure_emulator.resource_manager.resource_ids import parent_of
from azure_emulator.resource_manager.resource_types import Kind, Put
from azure_emulator.resource_manager.resources import Resource


def _account(put: Put) -> None:
    if not put.old and put.emulator.name_is_taken(put.id):
        raise AzureError(400, "BadRequest", f"Dns record for {put.name} under zone Document is already taken.")
    put.default(disableLocalAuth=False, publicNetworkAccess="Enabled", enableFreeTier=False, minimalTlsVersion="Tls12")
    put.properties["documentEndpoint"] = f"https://{put.name}.documents.azure.com:443/"
    put.properties["instanceId"] = put.stored_or_new("instanceId", lambda: str(uuid.uuid4()))


def _inner(put: Put) -> None:
    asked = put.properties.get("resource") or {}
    if asked.get("id") != put.name:
        raise AzureError(400, "BadRequest", f"Resource id '{asked.get('id')}' differs from the name '{put.name}'.")
    put.properties.pop("options", None)


def _container(put: Put) -> None:
    _inner(put)
    asked = put.properties["resource"]
    key = asked.get("partitionKey") or {}
    if len(key.get("paths") or []) != 1:
        raise AzureError(400, "BadRequest", "The local Azure has containers with one partition key path.")
    if put.old and put.old.properties["resource"]["partitionKey"]["paths"] != key["paths"]:
        raise AzureError(400, "BadRequest", "Document collection partition key cannot be changed.")


def _role_assignment(put: Put) -> None:
    role = str(put.properties.get("roleDefinitionId", "")).rsplit("/", 1)[-1]
    if role not in COSMOS_ROLES:
        raise AzureError(400, "BadRequest", f"The role definition '{role}' does not exist in the account.")
    if put.emulator.directory.find(put.properties["principalId"]) is None:
        raise AzureError(
            400,
            "BadRequest",
            f"The provided principal ID [{put.properties['principalId']}] was not found in the AAD tenant(s).",
        )

    account = parent_of(put.id)
    scope = str(put.properties.get("scope", ""))
    if not f"{scope}/".lower().startswith(f"{account}/".lower()):
        raise AzureError(400, "BadRequest", f"The scope '{scope}' is not the account or a part of it.")


def _give(emulator, resource: Resource) -> None:
    asked = resource.properties
    emulator.authorization.give(resource.id, asked["principalId"], asked["roleDefinitionId"], asked["scope"])


def _forget(emulator, resource: Resource) -> None:
    emulator.cosmos.forget(resource)


def _take(emulator, resource: Resource) -> None:
    emulator.authorization.take(resource.id)


_ACCOUNT = "Microsoft.DocumentDB/databaseAccounts"
KINDS = (
    Kind(
        _ACCOUNT,
        _account,
        name=r"[a-z0-9][a-z0-9-]{1,42}[a-z0-9]",
        name_error=(
            "BadRequest",
            "Database account name '{name}' is invalid: 3-44 lower-case letters, digits, hyphens.",
        ),
        seconds=2.0,
    ),
    Kind(f"{_ACCOUNT}/sqlDatabases", _inner, located=False, seconds=0.5),
    Kind(f"{_ACCOUNT}/sqlDatabases/containers", _container, dropped=_forget, located=False, seconds=0.5),
    Kind(
        f"{_ACCOUNT}/sqlRoleAssignments",
        _role_assignment,
        settle=_give,
        dropped=_take,
        located=False,
        seconds=0.5,
        name=r"[0-9a-fA-F-]{36}",
    ),
)
