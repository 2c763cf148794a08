"""Role assignments and role definitions of Microsoft.Authorization."""

import time
from typing import Any

from azure_emulator.identity.identities import TENANT
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.builtin_roles import ROLES
from azure_emulator.resource_manager.resource_ids import parent_of
from azure_emulator.resource_manager.resource_types import Kind, Put
from azure_emulator.resource_manager.resources import Resource

# A newer service principal may be missing from replicas of the directory; Azure then trusts `principalType`.
_REPLICATION_SECONDS = 20.0


def _assignment(put: Put) -> None:
    asked, scope = put.properties, parent_of(put.id)
    role = str(asked.get("roleDefinitionId", "")).rsplit("/", 1)[-1].lower()
    if role not in ROLES:
        raise AzureError(
            404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{role}' does not exist."
        )
    _require_principal(put)
    if put.old:
        before = put.old.properties
        if (before["principalId"], before["roleDefinitionId"]) != (asked["principalId"], asked["roleDefinitionId"]):
            raise AzureError(
                400,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            )
    else:
        same = put.emulator.authorization.same(asked["principalId"], role, scope)
        if same:
            raise AzureError(
                409,
                "RoleAssignmentExists",
                "The role assignment already exists. The ID of the existing role assignment is "
                f"{same.id.rsplit('/', 1)[-1]}.",
            )
    asked["scope"] = scope or "/"


def _require_principal(put: Put) -> None:
    oid, kind = put.properties["principalId"], put.properties.get("principalType")
    principal = put.emulator.directory.find(oid)
    fresh = (
        principal is not None and time.monotonic() - principal.made < _REPLICATION_SECONDS * put.emulator.clock.scale
    )
    if principal is None or (fresh and kind is None and put.old is None):
        raise AzureError(
            400,
            "PrincipalNotFound",
            f"Principal {oid.replace('-', '')} does not exist in the directory {TENANT}. Check that you have the "
            "correct principal ID. If you are creating this principal and then immediately assigning a role, this "
            "error might be related to a replication delay. In this case, set the role assignment principalType "
            "property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
        )
    if kind is not None and kind != principal.kind:
        raise AzureError(
            400,
            "UnmatchedPrincipalType",
            f"The PrincipalId '{oid.replace('-', '')}' has type '{principal.kind}' , which is different from specified "
            f"PrincipalType '{kind}'.",
        )
    put.properties["principalType"] = principal.kind


def _give(emulator, resource: Resource) -> None:
    asked = resource.properties
    emulator.authorization.give(resource.id, asked["principalId"], asked["roleDefinitionId"], parent_of(resource.id))


def _take(emulator, resource: Resource) -> None:
    emulator.authorization.take(resource.id)


def definition(id: str) -> dict[str, Any]:
    """Return a built-in role as GET shows it. Raises AzureError."""
    guid = id.rsplit("/", 1)[-1].lower()
    role = ROLES.get(guid)
    if role is None:
        raise AzureError(
            404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{guid}' does not exist."
        )
    permissions = {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions),
        "notDataActions": [],
    }
    return {
        "id": f"/providers/Microsoft.Authorization/roleDefinitions/{guid}",
        "name": guid,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": "",
            "assignableScopes": ["/"],
            "permissions": [permissions],
        },
    }


KINDS = (
    Kind(
        "Microsoft.Authorization/roleAssignments",
        _assignment,
        settle=_give,
        dropped=_take,
        located=False,
        name=r"[0-9a-fA-F-]{36}",
        name_error=("InvalidRoleAssignmentId", "The role assignment ID '{name}' is not valid. It must be a GUID."),
    ),
)
