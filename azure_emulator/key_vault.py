"""Key Vault's secrets, for callers with a data role on the vault."""

from __future__ import annotations

import time
import uuid
from typing import Any

from azure_emulator.messages import Answer, AzureError, Call
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

HOST = ".vault.azure.net"


def find_vault(emulator: EmulatorState, host: str) -> Resource | None:
    name = host.removesuffix(HOST)
    return next(
        (r for r in emulator.resources.of_type("Microsoft.KeyVault/vaults") if r.body["name"].lower() == name), None
    )


def handle(emulator: EmulatorState, call: Call) -> Answer:
    """Answer GET, PUT and DELETE of /secrets/name. Raises AzureError."""
    vault = find_vault(emulator, call.host)
    if vault is None:
        raise AzureError(404, "VaultNotFound", f"There is no vault at {call.host}.")
    parts = call.path.strip("/").split("/")
    if parts[0] != "secrets":
        raise AzureError(404, "NotFound", f"The local Azure has secrets only, not {call.path}.")
    stored = emulator.vault_secrets.setdefault(vault.id.lower(), {})
    action = {"GET": "getSecret/action", "PUT": "setSecret/action", "DELETE": "delete"}[call.method]
    if len(parts) == 1:
        action = "readMetadata/action"
    _require(emulator, call.oid, vault.id, f"Microsoft.KeyVault/vaults/secrets/{action}")
    if len(parts) == 1:
        return Answer(
            {"value": [{"id": s["id"].rsplit("/", 1)[0], "attributes": s["attributes"]} for s in stored.values()]}
        )
    name = parts[1].lower()
    if call.method == "PUT":
        stored[name] = _new(call.host, parts[1], call.body)
    if name not in stored:
        raise AzureError(404, "SecretNotFound", f"A secret with (name/id) {parts[1]} was not found in this key vault.")
    return Answer(stored.pop(name) if call.method == "DELETE" else stored[name])


def _new(host: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
    moment = int(time.time())
    return {
        "value": body["value"],
        "id": f"https://{host}/secrets/{name}/{uuid.uuid4().hex}",
        "attributes": {"enabled": True, "created": moment, "updated": moment, "recoveryLevel": "Recoverable+Purgeable"},
        "tags": body.get("tags") or {},
    }


def _require(emulator: EmulatorState, oid: str, vault: str, action: str) -> None:
    if not emulator.authorization.allows(oid, action, vault, data=True):
        raise AzureError(
            403,
            "Forbidden",
            f"Caller is not authorized to perform action on resource. Caller: oid={oid} Action: '{action}' Resource: "
            f"'{vault}' Assignment: (not found)",
        )
