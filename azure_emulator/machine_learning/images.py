"""Checks who may pull an environment's image from the workspace's registry."""

from __future__ import annotations

from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

PULL = "Microsoft.ContainerRegistry/registries/pull/read"


def registry_without_pull_access(emulator: EmulatorState, workspace: str, oid: str | None) -> Resource | None:
    """Return the workspace's registry if the identity may not pull from it, else None."""
    found = emulator.resources.find(workspace)
    registry = emulator.resources.find((found.properties.get("containerRegistry") or "") if found else "")
    if registry is None or (oid and emulator.authorization.allows(oid, PULL, registry.id)):
        return None
    return registry
