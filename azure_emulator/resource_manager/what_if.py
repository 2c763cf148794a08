"""What-if with Azure's noise: a value that is only known at run time counts as a change."""

from __future__ import annotations

from typing import Any

from azure_emulator.resource_manager.references import has_reference
from azure_emulator.state import EmulatorState

_PARTS = ("properties", "tags", "sku", "kind", "identity", "location")


def changes(emulator: EmulatorState, predicted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per resource: Create, NoChange or Modify."""
    return [_change(emulator, resource) for resource in predicted]


def _change(emulator: EmulatorState, resource: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"resourceId": resource["id"], "deploymentId": None, "symbolicName": None}
    live = emulator.resources.find(resource["id"])
    if live is None:
        return {**row, "changeType": "Create", "after": resource}
    delta = [
        change for part in _PARTS if part in resource for change in _delta(part, live.body.get(part), resource[part])
    ]
    if not delta:
        return {**row, "changeType": "NoChange", "before": live.shown(), "after": live.shown()}
    return {**row, "changeType": "Modify", "before": live.shown(), "after": resource, "delta": delta}


def _delta(path: str, before: Any, after: Any) -> list[dict[str, Any]]:
    if isinstance(after, dict) and isinstance(before, dict):
        return [d for key, value in after.items() for d in _delta(f"{path}.{key}", before.get(key), value)]
    if after is None or before == after:
        return []
    kind = "Modify" if before is not None or has_reference(after) else "Create"
    return [{"path": path, "propertyChangeType": kind, "before": before, "after": after, "children": None}]
