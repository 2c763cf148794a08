"""vCPU limits of Azure ML and Compute, one for each provider and family in all regions."""

from __future__ import annotations

import threading
from typing import Any, Literal

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager import skus

TOTAL = skus.TOTAL
ML, COMPUTE = "Microsoft.MachineLearningServices", "Microsoft.Compute"
TITLES = {
    ML: skus.TITLES,
    COMPUTE: {name: title.replace(" Cluster Dedicated", "") for name, title in skus.FAMILIES.items()}
    | {"cores": "Total Regional vCPUs"},
}


class Quota:
    """Each provider's limits in vCPUs. `verdict` decides whether a request is granted, refused or left waiting.

    Limits are per provider: a grant for Compute does not change Azure ML's limit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits = {
            provider: {name: 100 if name in skus.FAMILIES else 300 for name in titles}
            for provider, titles in TITLES.items()
        }
        self.verdict: Literal["grant", "refuse", "wait"] = "grant"
        self.requests: dict[str, dict[str, Any]] = {}

    def limit(self, family: str, provider: str = ML) -> int:
        with self._lock:
            return self._limits[provider][known(family, provider)]

    def set_limit(self, family: str, vcpus: int, provider: str = ML) -> None:
        with self._lock:
            self._limits[provider][known(family, provider)] = vcpus


def known(family: str, provider: str) -> str:
    """Return the quota's name as the provider spells it. Raises AzureError."""
    found = next((name for name in TITLES[provider] if name.lower() == family.lower()), None)
    if found is None:
        raise AzureError(404, "ResourceNotFound", f"There is no quota named '{family}'.")
    return found
