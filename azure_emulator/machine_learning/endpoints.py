"""Online endpoints: requirements of a PUT, and the identity and addresses that Azure adds."""

from __future__ import annotations

from typing import Any

from azure_emulator.identity.identities import TENANT
from azure_emulator.machine_learning import traffic
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.builtin_roles import role_id
from azure_emulator.resource_manager.linked_access import require_assignable
from azure_emulator.resource_manager.resource_ids import name_of, parent_of, plain
from azure_emulator.resource_manager.resource_types import Put
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.scoring.live_endpoints import HOST
from azure_emulator.state import EmulatorState

TYPE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
# Without these, a managed endpoint fails: how-to-troubleshoot-online-endpoints, "Subscription not registered".
PROVIDERS = ("Microsoft.PolicyInsights", "Microsoft.Cdn")
_GRANT = "Microsoft.Authorization/roleAssignments/write"


def complete(put: Put) -> None:
    """Check a managed endpoint and add its identity and addresses; keys are never shown."""
    workspace = put.emulator.resources.find(parent_of(put.id))
    assert workspace
    region = plain(workspace.body["location"])
    if plain(put.body["location"]) != region:
        raise _invalid(f"The endpoint's location '{put.body['location']}' is not the workspace's, '{region}'.")
    if put.properties.get("compute"):
        raise _invalid("The local Azure has managed online endpoints only: leave properties.compute out.")
    if put.old is None and _taken(put.emulator, put.id, region):
        raise _invalid(
            f"There is already an endpoint with this name '{put.name}'. Endpoint name needs to be unique in a region."
        )
    traffic.require_valid(put.emulator, put.id, put.properties)
    _resolve_identity(put)
    put.body.setdefault("kind", "Managed")
    put.default(publicNetworkAccess="Enabled", traffic={}, mirrorTraffic={}, description=None, compute=None)
    put.properties["keys"] = None
    put.properties["properties"] = {
        "azureml.onlineendpointid": put.id.lower(),
        **(put.properties.get("properties") or {}),
    }
    base = f"https://{put.name.lower()}.{region}{HOST}"
    put.properties["scoringUri"] = put.stored_or_new("scoringUri", lambda: f"{base}/score")
    put.properties["swaggerUri"] = put.stored_or_new("swaggerUri", lambda: f"{base}/swagger.json")


def missing_providers(emulator: EmulatorState) -> list[str]:
    return [name for name in PROVIDERS if emulator.providers.state(name) != "Registered"]


def identity_of(endpoint: Resource) -> tuple[str | None, str | None, str]:
    """Return object id, client id and name of the identity of the endpoint's containers."""
    identity = endpoint.body.get("identity") or {}
    for id, shown in (identity.get("userAssignedIdentities") or {}).items():
        return shown["principalId"], shown["clientId"], id
    return identity.get("principalId"), endpoint.hidden.get("client_id"), f"the identity of {endpoint.id}"


def settled(emulator: EmulatorState, endpoint: Resource) -> None:
    """Open the endpoint with the requested traffic."""
    live = emulator.scoring.of(endpoint.id)
    if live:
        live.ready = True
        live.shift(endpoint.properties.get("traffic") or {})


def dropped(emulator: EmulatorState, endpoint: Resource) -> None:
    emulator.scoring.close(endpoint.id)


def _taken(emulator: EmulatorState, id: str, region: str) -> bool:
    same = (r for r in emulator.resources.of_type(TYPE) if name_of(r.id).lower() == name_of(id).lower())
    return name_of(id).lower() in emulator.taken_names or any(
        r.id.lower() != id.lower() and plain(r.body["location"]) == region for r in same
    )


def _resolve_identity(put: Put) -> None:
    identity: dict[str, Any] = put.body.get("identity") or {"type": "SystemAssigned"}
    named = identity.get("userAssignedIdentities") or {}
    if len(named) > 1:
        raise _invalid("An online endpoint takes one user-assigned identity.")
    if "UserAssigned" in str(identity.get("type")) and not named:
        raise _invalid("identity.type UserAssigned needs userAssignedIdentities.")
    for id in named:
        resource = put.emulator.resources.find(id)
        if resource is None:
            raise AzureError(400, "FailedIdentityOperation", f"The user-assigned identity '{id}' was not found.")
        require_assignable(put.emulator, put.oid, id)
        named[id] = {key: resource.properties[key] for key in ("principalId", "clientId")}
    before = (put.old.body.get("identity") or {}) if put.old else {}
    if before and _kind(before) != _kind(identity):
        raise _invalid("The identity of an endpoint cannot be changed: delete the endpoint and make a new one.")
    if not named:
        oid = before.get("principalId") or put.emulator.directory.new_identity(put.name).oid
        identity = {"type": "SystemAssigned", "principalId": oid, "tenantId": TENANT}
    put.body["identity"] = identity


def grant_system_identity(emulator: EmulatorState, endpoint: Resource, creator: str) -> None:
    """Assign roles to a new endpoint's system identity where its creator may assign roles."""
    oid = (endpoint.body.get("identity") or {}).get("principalId")
    workspace = emulator.resources.find(parent_of(endpoint.id))
    if not oid or workspace is None:
        return
    principal = emulator.directory.find(oid)
    endpoint.hidden["client_id"] = principal.client_id if principal else None
    roles = {"AcrPull": "containerRegistry", "Storage Blob Data Reader": "storageAccount"}
    for role, key in roles.items():
        scope = workspace.properties.get(key)
        if scope and emulator.authorization.allows(creator, _GRANT, scope):
            emulator.authorization.give(f"{endpoint.id}#{role}", oid, role_id(role), scope, delay=0)


def _kind(identity: dict[str, Any]) -> tuple[str, list[str]]:
    named = sorted(id.lower() for id in identity.get("userAssignedIdentities") or {})
    return ("UserAssigned" if named else "SystemAssigned"), named


def _invalid(message: str) -> AzureError:
    return AzureError(400, "BadRequest", f"The request is invalid. {message}")
