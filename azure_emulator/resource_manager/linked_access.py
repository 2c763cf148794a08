"""Checks the right to attach a managed identity to a resource."""

from __future__ import annotations

from azure_emulator.messages import AzureError
from azure_emulator.state import EmulatorState

_ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


def require_assignable(emulator: EmulatorState, oid: str, identity_id: str) -> None:
    """Raise LinkedAuthorizationFailed unless the principal may attach the identity."""
    if not emulator.authorization.allows(oid, _ASSIGN, identity_id):
        raise AzureError(
            403,
            "LinkedAuthorizationFailed",
            f"The client with object id '{oid}' does not have permission to perform action '{_ASSIGN}' on the linked "
            f"scope(s) '{identity_id}' or the linked scope(s) are invalid.",
        )
