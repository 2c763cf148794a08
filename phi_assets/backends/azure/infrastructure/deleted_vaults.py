"""Soft-deleted key vaults: finds, recovers or purges them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from phi_assets import bicep_template
from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.azure_errors import code_of, refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import PollTimer, with_retries
from phi_assets.ports.base import Log

API_VERSION = "2023-07-01"
GROUPS = "Microsoft.Resources/resourceGroups"
VAULTS = "Microsoft.KeyVault/vaults"
MINUTES = 10.0
FIRST_POLL, LONGEST_POLL = 1.0, 5.0


@dataclass(frozen=True)
class DeletedVault:
    """A soft-deleted vault: its former id, and, if purge protection is on, the date until which it cannot be purged."""

    name: str
    location: str
    vault_id: str
    protected: bool
    until: str

    def is_at(self, resource_id: str) -> bool:
        return self.vault_id.lower() == resource_id.lower()


def find(clients: AzureClients, name: str, log: Log) -> DeletedVault | None:
    """The deleted vault of the name in the account's region. Raises AzureRefused."""
    from azure.core.exceptions import HttpResponseError

    try:
        body = with_retries(f"looking for a deleted vault {name}", partial(clients.get, _address(clients, name)), log)
    except HttpResponseError as e:
        # Azure also returns these for a subscription that never had a vault.
        if status_of(e) == 404 or code_of(e) == "MissingSubscriptionRegistration":
            return None
        raise refused(f"looking for a deleted key vault {name}", e) from e
    of: dict[str, Any] = body.get("properties") or {}
    return DeletedVault(
        name=name,
        location=str(of.get("location") or clients.account.location),
        vault_id=str(of.get("vaultId") or ""),
        protected=of.get("purgeProtectionEnabled") is True,
        until=str(of.get("scheduledPurgeDate") or "")[:10],
    )


def recover(clients: AzureClients, vault_id: str, log: Log) -> bool:
    """Recover the vault if one with this id was soft-deleted; return whether it was."""
    from azure.core.exceptions import HttpResponseError

    name = vault_id.rpartition("/")[2]
    try:
        found = find(clients, name, log)
        if found is None or not found.is_at(vault_id):
            return False
        log(f"recovering the deleted key vault {name}")
        with_retries(f"creating {clients.account.group}", partial(_ensure_group, clients), log)
        with_retries(f"recovering {name}", partial(_put, clients, vault_id, found.location), log)
    except HttpResponseError as e:
        raise refused(f"recovering the deleted key vault {name}", e) from e
    _wait_until_live(clients, vault_id, log)
    return True


def purge(clients: AzureClients, vault_id: str, log: Log) -> DeletedVault | None:
    """Purge the soft-deleted vault of this id; return it if Azure forbids that, else None. Raises AzureRefused."""
    from azure.core.exceptions import HttpResponseError

    name = vault_id.rpartition("/")[2]
    try:
        found = find(clients, name, log)
        if found is None or not found.is_at(vault_id):
            return None
        if found.protected:
            return found
        log(f"purging the deleted key vault {name}")
        address = _address(clients, name, "/purge")
        with_retries(f"purging {name}", partial(_send_purge, clients, address), log)
        waiting = PollTimer(f"purging {name}", log, MINUTES, FIRST_POLL, LONGEST_POLL)
        while (remaining := find(clients, name, log)) is not None:
            if remaining.protected:
                return remaining
            waiting.pause("Azure still retains it")
    except HttpResponseError as e:
        if code_of(e) == "MethodNotAllowed":
            return find(clients, name, log)
        raise refused(f"purging the key vault {name}", e) from e
    return None


def _send_purge(clients: AzureClients, address: str) -> None:
    from azure.core.exceptions import HttpResponseError

    try:
        clients.send("POST", address)
    except HttpResponseError as e:
        if status_of(e) != 404:  # already purged by an attempt whose response was lost
            raise


def _ensure_group(clients: AzureClients) -> None:
    """Create the resource group if it is missing: a vault is recovered into its group. Existing tags are unchanged."""
    of = clients.account
    if rest.get_or_none(clients, of.group_id, bicep_template.api_version(GROUPS)) is not None:
        return
    clients.send(
        "PUT",
        f"{of.group_id}?api-version={bicep_template.api_version(GROUPS)}",
        {"location": of.location, "tags": {"azd-env-name": of.name}},
    )


def _put(clients: AzureClients, vault_id: str, location: str) -> None:
    tenant = clients.principal().tenant_id
    properties = {"createMode": "recover", "tenantId": tenant, "sku": {"family": "A", "name": "standard"}}
    address = f"{vault_id}?api-version={bicep_template.api_version(VAULTS)}"
    clients.send("PUT", address, {"location": location, "properties": properties})


def _wait_until_live(clients: AzureClients, vault_id: str, log: Log) -> None:
    waiting = PollTimer(f"recovering {vault_id.rpartition('/')[2]}", log, MINUTES, FIRST_POLL, LONGEST_POLL)
    while True:
        body = rest.get_or_none(clients, vault_id, bicep_template.api_version(VAULTS))
        if body is not None and rest.properties(body).get("provisioningState") in (None, "Succeeded"):
            return
        waiting.pause("it does not exist yet")


def _address(clients: AzureClients, name: str, more: str = "") -> str:
    of = clients.account
    return (
        f"/subscriptions/{of.subscription_id}/providers/Microsoft.KeyVault/locations/{of.location}/deletedVaults/"
        f"{name}{more}?api-version={API_VERSION}"
    )
