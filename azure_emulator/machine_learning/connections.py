"""Workspace connections: requirements of a PUT; a GET shows everything but the secret.

Bodies are as in Microsoft's samples and as Prompt flow reads them: promptflow/core/_connection_provider.
"""

from __future__ import annotations

from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import parent_of
from azure_emulator.resource_manager.resource_types import Put

TYPE = "Microsoft.MachineLearningServices/workspaces/connections"
NAME = r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}"
_WITHOUT_SECRET = frozenset({"AAD", "None"})


def complete(put: Put) -> None:
    """Require a secret and remove it from the body; `connection_calls` stores it."""
    for key in ("authType", "category", "target"):
        if not put.properties.get(key):
            raise invalid(f"The {key} field is required.")
    secret, auth = put.properties.get("credentials"), put.properties["authType"]
    if auth in _WITHOUT_SECRET and secret:
        raise invalid(f"A connection of authType {auth} takes no credentials.")
    if auth not in _WITHOUT_SECRET and not _filled(secret):
        raise invalid(f"A connection of authType {auth} needs credentials.")
    put.properties["credentials"] = None
    put.default(metadata={}, isSharedToAll=True, sharedUserList=[], expiryTime=None)
    put.properties["createdByWorkspaceArmId"] = parent_of(put.id)


def _filled(secret: Any) -> bool:
    if not isinstance(secret, dict):
        return False
    return bool(secret["keys"]) if "keys" in secret else bool(secret)


def invalid(message: str) -> AzureError:
    return AzureError(400, "ValidationError", message)
