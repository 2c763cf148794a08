"""Soft-deleted key vaults, Azure ML workspaces and Log Analytics workspaces."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.resource_manager.resources import Resource

if TYPE_CHECKING:
    from azure_emulator.emulator import Emulator


class SoftDeleted:
    """Deleted vaults by name, with their bodies; deleted workspaces by id."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.vaults: dict[str, dict[str, Any]] = {}
        self.workspaces: set[str] = set()
        self.logs: set[str] = set()

    def add_vault(self, body: dict[str, Any]) -> None:
        with self.lock:
            self.vaults[body["name"].lower()] = copy.deepcopy(body)

    def ids(self) -> list[str]:
        """Return all former resource ids."""
        with self.lock:
            vaults = [str(body["id"]) for body in self.vaults.values()]
            return sorted([*vaults, *self.workspaces, *self.logs])


def recovered_vault(emulator: Emulator, resource_id: str) -> dict[str, Any]:
    """Return the vault that createMode=recover restores. Raises AzureError if its id differs."""
    body = deleted_vault_body(emulator, name_of(resource_id))
    if str(body["id"]).lower() != resource_id.lower():
        raise AzureError(
            404, "DeletedVaultNotFound", f"The deleted vault '{body['name']}' had another id: {body['id']}."
        )
    return copy.deepcopy(body)


def vault_dropped(emulator: Emulator, resource: Resource) -> None:
    emulator.soft_deleted.add_vault(resource.body)


def foreign_deleted_vault(emulator: Emulator, name: str, location: str) -> dict[str, Any]:
    """Return a deleted vault of another resource group."""
    id = f"/subscriptions/{emulator.subscription}/resourceGroups/another/providers/Microsoft.KeyVault/vaults/{name}"
    return {"id": id, "name": name, "location": location, "properties": {}}


def deleted_vault_body(emulator: Emulator, name: str) -> dict[str, Any]:
    """Return the deleted vault's body. Raises AzureError if there is none."""
    found = emulator.soft_deleted.vaults.get(name.lower())
    if found is None:
        raise AzureError(404, "DeletedVaultNotFound", f"The specified deleted vault '{name}' does not exist.")
    return found
