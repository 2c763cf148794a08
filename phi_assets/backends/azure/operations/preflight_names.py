"""Checks whether the names of a deployment are free, taken by others, or retained for a soft-deleted resource."""

from functools import partial

from phi_assets import bicep_template
from phi_assets.backends.azure.client import names, outputs, rest
from phi_assets.backends.azure.client.azure_errors import NAME_REMEDY, VAULT_REMEDY, WORKSPACE_REMEDY, status_of
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.infrastructure import deleted_vaults, ownership
from phi_assets.backends.azure.operations.preflight_account import (
    MACHINE_LEARNING,
    MINUTES,
    Registrations,
    require_registered,
)
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Diagnosis

# Types with globally unique names that have a checkNameAvailability API. Cosmos DB has a different one.
CHECKED = {
    "storage_account": ("Microsoft.Storage/storageAccounts", "2023-05-01"),
    "key_vault": ("Microsoft.KeyVault/vaults", "2023-07-01"),
    "container_registry": ("Microsoft.ContainerRegistry/registries", "2023-07-01"),
}
COSMOS = "Microsoft.DocumentDB/databaseAccounts"
COSMOS_VERSION = "2024-11-15"


def group(clients: AzureClients, registered: Registrations | None) -> list[Diagnosis]:
    """Check that the group is free, or this project's in the same region. Raises AzureRefused, with the remedy."""
    of, found = clients.account, ownership.group(clients)
    if found is not None:
        ownership.require_region(of, found)
        ownership.require_group(of, found)
    description = f"the resource group {of.group} {'is free' if found is None else 'exists'}"
    known = registered is not None and registered.states.get(MACHINE_LEARNING) == "Registered"
    expected = known and (found is not None or outputs.read(of) is not None)
    return [Diagnosis("names", "ok", description), *(_lost_workspace(clients) if expected else [])]


def _lost_workspace(clients: AzureClients) -> list[Diagnosis]:
    """A warning if the workspace may be soft-deleted: Azure retains its name, and reports that only on creation."""
    workspace = rest.workspace_id(clients)
    if rest.get_or_none(clients, workspace, rest.WORKSPACES_VERSION) is not None:
        return []
    return [
        Diagnosis(
            "names",
            "warning",
            f"the workspace {workspace.rpartition('/')[2]} does not exist, but its group does or did: if it was "
            "deleted in the last 14 days, Azure retains it and refuses to create it again",
            WORKSPACE_REMEDY,
        )
    ]


def global_name(clients: AzureClients, asset: str, registered: Registrations | None, log: Log) -> Diagnosis:
    """Check one globally unique name. Raises HttpResponseError, AzureRefused, NotChecked."""
    name = names.names(clients.account)[asset]
    kind = COSMOS if asset == "chat_database" else CHECKED[asset][0]
    require_registered(registered, kind.partition("/")[0])
    ours = f"{clients.account.group_id}/providers/{kind}/{name}"
    if rest.get_or_none(clients, ours, bicep_template.api_version(kind)) is not None:
        return Diagnosis("names", "ok", f"{asset} {name} exists, in {clients.account.group}")
    if _is_free(clients, asset, name, log):
        return Diagnosis("names", "ok", f"{asset} {name} is free")
    if asset == "key_vault":
        kept = deleted_vaults.find(clients, name, log)
        if kept is not None and kept.is_at(ours):
            return Diagnosis("names", "ok", f"key_vault {name} was deleted, and a run recovers it")
        if kept is not None:
            return Diagnosis(
                "names",
                "problem",
                f"key_vault {name} is the name of a deleted vault of another group",
                VAULT_REMEDY.format(vault=name),
            )
    return Diagnosis("names", "problem", f"{asset} {name} is taken outside this account", NAME_REMEDY)


def _is_free(clients: AzureClients, asset: str, name: str, log: Log) -> bool:
    what = f"checking whether {name} is free"
    if asset == "chat_database":
        return with_retries(what, partial(_cosmos_is_free, clients, name), log, MINUTES)
    kind, version = CHECKED[asset]
    namespace = kind.partition("/")[0]
    address = (
        f"/subscriptions/{clients.account.subscription_id}/providers/{namespace}/checkNameAvailability"
        f"?api-version={version}"
    )
    answer = with_retries(
        what, lambda: clients.send("POST", address, {"name": name, "type": kind}).json(), log, MINUTES
    )
    return bool(answer["nameAvailable"])


def _cosmos_is_free(clients: AzureClients, name: str) -> bool:
    from azure.core.exceptions import HttpResponseError

    try:
        clients.send(
            "HEAD", f"/providers/{COSMOS.replace('Accounts', 'AccountNames')}/{name}?api-version={COSMOS_VERSION}"
        )
    except HttpResponseError as e:
        if status_of(e) == 404:
            return True
        raise
    return False
