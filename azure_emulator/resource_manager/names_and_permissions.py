"""Name availability, and the caller's permissions."""

from __future__ import annotations

from typing import Any

from azure_emulator.messages import Answer, AzureError, Call
from azure_emulator.resource_manager.builtin_roles import ROLES
from azure_emulator.resource_manager.put_resource import require
from azure_emulator.state import EmulatorState

_CHECKED = {
    "microsoft.storage": "Microsoft.Storage/storageAccounts",
    "microsoft.keyvault": "Microsoft.KeyVault/vaults",
    "microsoft.containerregistry": "Microsoft.ContainerRegistry/registries",
}


def check_name(emulator: EmulatorState, call: Call, namespace: str) -> Answer:
    """Answer POST checkNameAvailability of storage, vaults and registries."""
    type = _CHECKED.get(namespace.lower())
    if type is None:
        raise AzureError(404, "InvalidResourceType", f"{namespace} has no checkNameAvailability.")
    emulator.providers.require(namespace)
    require(emulator, call.oid, f"{namespace}/checkNameAvailability/read", call.path)
    asked: dict[str, Any] = call.body or {}
    if str(asked.get("type", "")).lower() != type.lower() or not asked.get("name"):
        raise AzureError(400, "BadRequest", f"The body needs a name, and the type {type}.")
    name = str(asked["name"])
    if not _taken(emulator, type, name):
        return Answer({"nameAvailable": True})
    return Answer(
        {"nameAvailable": False, "reason": "AlreadyExists", "message": f"The name '{name}' is already in use."}
    )


def cosmos_name(emulator: EmulatorState, call: Call, name: str) -> Answer:
    """Answer HEAD of a Cosmos DB account's name: 200 if it exists anywhere."""
    return Answer(status=200 if _taken(emulator, "Microsoft.DocumentDB/databaseAccounts", name) else 404)


def permissions(emulator: EmulatorState, call: Call, scope: str) -> Answer:
    """Return the permissions of the caller's roles at the scope or above it."""
    rows = []
    for assignment in emulator.authorization.all():
        role = ROLES.get(assignment.role)
        if role and assignment.oid == call.oid.lower() and scope.lower().startswith(assignment.scope):
            rows.append(
                {
                    "actions": list(role.actions),
                    "notActions": list(role.not_actions),
                    "dataActions": list(role.data_actions),
                    "notDataActions": [],
                }
            )
    return Answer({"value": rows})


def _taken(emulator: EmulatorState, type: str, name: str) -> bool:
    if type == "Microsoft.KeyVault/vaults" and name.lower() in emulator.soft_deleted.vaults:
        return True
    live = (r for r in emulator.resources.of_type(type) if r.body["name"].lower() == name.lower())
    return name.lower() in emulator.taken_names or any(live)


ROUTES = [
    ("POST", r"/subscriptions/[^/]+/providers/(?P<namespace>[^/]+)/checkNameAvailability", check_name),
    ("HEAD", r"/providers/Microsoft\.DocumentDB/databaseAccountNames/(?P<name>[^/]+)", cosmos_name),
    ("GET", r"(?P<scope>/subscriptions/[^/]+)/providers/Microsoft\.Authorization/permissions", permissions),
]
