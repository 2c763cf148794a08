"""Whether the names that a deployment would give are free, taken by others, or kept for something deleted."""

from collections.abc import Mapping
from functools import partial

from phi_assets import infra
from phi_assets.backends.azure import deleted_vaults, live_state, unique_names
from phi_assets.backends.azure.clients import AzureClients
from phi_assets.backends.azure.errors import NAME_CURE, VAULT_CURE, status_of
from phi_assets.backends.azure.preflight_place import MINUTES, require_registered
from phi_assets.backends.azure.retrying import with_patience
from phi_assets.backends.ports import Diagnosis, Log

# Types whose names are one in all of Azure, and that say whether one is free. Cosmos DB is asked in a way of its own.
CHECKED = {
    "storage_account": ("Microsoft.Storage/storageAccounts", "2023-05-01"),
    "key_vault": ("Microsoft.KeyVault/vaults", "2023-07-01"),
    "container_registry": ("Microsoft.ContainerRegistry/registries", "2023-07-01"),
}
COSMOS = "Microsoft.DocumentDB/databaseAccounts"
COSMOS_VERSION = "2024-11-15"


def group(clients: AzureClients, log: Log) -> Diagnosis:
    """The group is free, or ours in the same region."""
    of = clients.account
    kind = "Microsoft.Resources/resourceGroups"
    found = live_state.get_or_none(clients, of.group_id, infra.api_version(kind))
    if found is None:
        return Diagnosis("names", "ok", f"the resource group {of.group} is free")
    region = str(found.get("location") or "").replace(" ", "").lower()
    if region != of.location:
        return Diagnosis(
            "names",
            "problem",
            f"the resource group {of.group} exists in {region}, and PHI_AZURE_LOCATION is {of.location}",
            f"set PHI_AZURE_LOCATION={region}, or another PHI_AZURE_NAME",
        )
    if (found.get("tags") or {}).get("azd-env-name") not in (None, of.name):
        return Diagnosis("names", "problem", f"the resource group {of.group} is of another azd environment", NAME_CURE)
    return Diagnosis("names", "ok", f"the resource group {of.group} exists")


def global_name(clients: AzureClients, asset: str, states: Mapping[str, str], log: Log) -> Diagnosis:
    """One name of those that are one in all of Azure. Raises HttpResponseError, NotLookedAt."""
    name = unique_names.names(clients.account)[asset]
    kind = COSMOS if asset == "chat_database" else CHECKED[asset][0]
    require_registered(states, kind.partition("/")[0])
    ours = f"{clients.account.group_id}/providers/{kind}/{name}"
    if live_state.get_or_none(clients, ours, infra.api_version(kind)) is not None:
        return Diagnosis("names", "ok", f"{asset} {name} exists, in {clients.account.group}")
    if _is_free(clients, asset, name, log):
        return Diagnosis("names", "ok", f"{asset} {name} is free")
    if asset == "key_vault":
        kept = deleted_vaults.find(clients, name, log)
        if kept is not None and kept.is_at(ours):
            return Diagnosis("names", "ok", f"key_vault {name} was deleted, and a run takes it back")
        if kept is not None:
            return Diagnosis(
                "names",
                "problem",
                f"key_vault {name} is the name of a deleted vault of another group",
                VAULT_CURE.format(vault=name),
            )
    return Diagnosis("names", "problem", f"{asset} {name} is taken by somebody else", NAME_CURE)


def _is_free(clients: AzureClients, asset: str, name: str, log: Log) -> bool:
    what = f"asking whether {name} is free"
    if asset == "chat_database":
        return with_patience(what, partial(_cosmos_is_free, clients, name), log, MINUTES)
    kind, version = CHECKED[asset]
    namespace = kind.partition("/")[0]
    address = (
        f"/subscriptions/{clients.account.subscription_id}/providers/{namespace}/checkNameAvailability"
        f"?api-version={version}"
    )
    answer = with_patience(
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
