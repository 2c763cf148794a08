"""Soft-deleted key vaults, Azure ML workspaces and Log Analytics workspaces."""

from __future__ import annotations

import copy
import threading
from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import name_of


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

    def add_foreign_vault(self, subscription: str, name: str, location: str) -> None:
        """Add a deleted vault of another resource group."""
        id = f"/subscriptions/{subscription}/resourceGroups/another/providers/Microsoft.KeyVault/vaults/{name}"
        self.add_vault({"id": id, "name": name, "location": location, "properties": {}})

    def vault(self, name: str) -> dict[str, Any]:
        """Return the deleted vault's body. Raises AzureError if there is none."""
        found = self.vaults.get(name.lower())
        if found is None:
            raise AzureError(404, "DeletedVaultNotFound", f"The specified deleted vault '{name}' does not exist.")
        return found

    def recovered_vault(self, resource_id: str) -> dict[str, Any]:
        """Return the vault that createMode=recover restores. Raises AzureError if its id differs."""
        body = self.vault(name_of(resource_id))
        if str(body["id"]).lower() != resource_id.lower():
            raise AzureError(
                404, "DeletedVaultNotFound", f"The deleted vault '{body['name']}' had another id: {body['id']}."
            )
        return copy.deepcopy(body)

    def ids(self) -> list[str]:
        """Return all former resource ids."""
        with self.lock:
            vaults = [str(body["id"]) for body in self.vaults.values()]
            return sorted([*vaults, *self.workspaces, *self.logs])
