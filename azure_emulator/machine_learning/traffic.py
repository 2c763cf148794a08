"""An endpoint's traffic: integer percentages over serving deployments, which add up to 0 or 100."""

from __future__ import annotations

from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.state import EmulatorState


def require_valid(emulator: EmulatorState, endpoint_id: str, properties: dict[str, Any]) -> None:
    """Raise AzureError (BadRequest) for traffic to a deployment that does not serve, or an invalid sum."""
    traffic, mirror = properties.get("traffic") or {}, properties.get("mirrorTraffic") or {}
    for name, share in {**traffic, **mirror}.items():
        if not 0 <= share <= 100:
            raise _refused(f"The traffic of deployment '{name}' is {share}: it must be between 0 and 100.")
        deployment = emulator.resources.find(f"{endpoint_id}/deployments/{name}")
        if deployment is None:
            raise _refused(f"The deployment '{name}' that traffic is set for does not exist.")
        if share and deployment.state != "Succeeded":
            raise _refused(f"The deployment '{name}' is {deployment.state}: it cannot get traffic.")
    if sum(traffic.values()) not in (0, 100):
        raise _refused(f"The traffic percentages sum to {sum(traffic.values())}: they must sum to 0 or 100.")
    if sum(mirror.values()) > 50:
        raise _refused(f"The mirror traffic percentages sum to {sum(mirror.values())}: at most 50 is possible.")


def share_of(emulator: EmulatorState, endpoint_id: str, deployment: str) -> int:
    """Return the deployment's current or requested share, whichever is larger."""
    endpoint = emulator.resources.find(endpoint_id)
    shown = (endpoint.properties.get("traffic") or {}).get(deployment, 0) if endpoint else 0
    live = emulator.scoring.of(endpoint_id)
    return max(shown, live.traffic.get(deployment, 0) if live else 0)


def _refused(message: str) -> AzureError:
    return AzureError(400, "BadRequest", f"The request is invalid. {message}", target="traffic")
