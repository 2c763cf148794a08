"""Checks the right to attach a managed identity to a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure_emulator.messages import AzureError

if TYPE_CHECKING:
    from azure_emulator.emulator import Emulator

_ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


def require_assignable(emulator: Emulator, oid: str, identity_id: str) -> None:
    """Raise LinkedAuthorizationFailed unless the principal may attach the identity."""
    if not emulator.authorization.allows(oid, _ASSIGN, identity_id):
        raise AzureError(
            403,
            "LinkedAuthorizationFailed",
            f"The client with object id '{oid}' does not have permission to perform action '{_ASSIGN}' on the linked "
            f"scope(s) '{identity_id}' or the linked scope(s) are invalid.",
        )
