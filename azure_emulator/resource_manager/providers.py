"""Resource providers: registration states, and the regions of each resource type."""

import threading
from typing import Any

from azure_emulator.clock import Clock
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import plain

# Public regions that offer Azure ML: https://azure.microsoft.com/explore/global-infrastructure/products-by-region
REGIONS = (
    *("eastus", "eastus2", "centralus", "northcentralus", "southcentralus", "westcentralus"),
    *("westus", "westus2", "westus3", "canadacentral", "canadaeast", "brazilsouth"),
    *("northeurope", "westeurope", "uksouth", "francecentral", "germanywestcentral", "switzerlandnorth"),
    *("swedencentral", "norwayeast", "polandcentral", "italynorth", "spaincentral"),
    *("australiaeast", "japaneast", "koreacentral", "southeastasia", "eastasia", "centralindia", "southindia"),
    *("southafricanorth", "uaenorth", "qatarcentral", "israelcentral"),
)
# Registered in every subscription from the start.
_FROM_THE_START = (
    "Microsoft.Resources",
    "Microsoft.Authorization",
    "Microsoft.Billing",
    "Microsoft.Consumption",
    "Microsoft.Features",
    "Microsoft.Support",
)
# Azure regions without Azure ML.
_NO_MACHINE_LEARNING = ("japanwest", "ukwest", "australiasoutheast")
KNOWN_REGIONS = (*REGIONS, *_NO_MACHINE_LEARNING)
_TYPES = {
    "Microsoft.Storage": ("storageAccounts",),
    "Microsoft.KeyVault": ("vaults",),
    "Microsoft.Insights": ("components",),
    "Microsoft.OperationalInsights": ("workspaces",),
    "Microsoft.ContainerRegistry": ("registries",),
    "Microsoft.ManagedIdentity": ("userAssignedIdentities",),
    "Microsoft.DocumentDB": ("databaseAccounts",),
    "Microsoft.MachineLearningServices": ("workspaces", "workspaces/computes", "workspaces/onlineEndpoints"),
    "Microsoft.App": ("managedEnvironments", "containerApps"),
    "Microsoft.Quota": (),
    "Microsoft.Compute": (),
    "Microsoft.PolicyInsights": (),
    "Microsoft.Cdn": (),
}


class Providers:
    """Registration states; a registration takes 1 scaled second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._spelling = {name.lower(): name for name in (*_TYPES, *_FROM_THE_START)}
        self._states = dict.fromkeys(_TYPES, "NotRegistered") | dict.fromkeys(_FROM_THE_START, "Registered")

    def state(self, namespace: str) -> str:
        return self._states[self._known(namespace)]

    def register(self, namespace: str) -> dict[str, Any]:
        """Start a registration, unless one exists."""
        name = self._known(namespace)
        with self._lock:
            if self._states[name] not in ("Registered", "Registering"):
                self._states[name] = "Registering"
                self._clock.after(1.0, lambda: self.set(name, "Registered"))
        return self.shown(name)

    def set(self, namespace: str, state: str) -> None:
        with self._lock:
            self._states[self._known(namespace)] = state

    def require(self, namespace: str) -> None:
        """Raise MissingSubscriptionRegistration unless the subscription is registered."""
        name = self._known(namespace)
        if self._states[name] != "Registered":
            message = (
                f"The subscription is not registered to use namespace '{name}'. "
                "See https://aka.ms/rps-not-found for how to register subscriptions."
            )
            detail = {"code": "MissingSubscriptionRegistration", "target": name, "message": message}
            raise AzureError(409, "MissingSubscriptionRegistration", message, details=[detail])

    def require_location(self, type: str, location: str | None) -> None:
        """Raise LocationNotAvailableForResourceType if the region does not offer the type."""
        named = plain(location or "")
        offered = REGIONS if type.lower().startswith("microsoft.machinelearning") else KNOWN_REGIONS
        if named in offered:
            return
        if type.lower() == "microsoft.resources/resourcegroups":
            raise AzureError(
                400,
                "LocationNotAvailableForResourceGroup",
                f"The provided location '{location}' is not available for resource group. "
                f"List of available regions is '{','.join(offered)}'.",
            )
        raise AzureError(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{location}' is not available for resource type '{type}'. "
            f"List of available regions for the resource type is '{','.join(offered)}'.",
        )

    def shown(self, namespace: str) -> dict[str, Any]:
        name = self._known(namespace)
        types = [{"resourceType": type, "locations": list(REGIONS)} for type in _TYPES.get(name, ())]
        return {
            "id": f"/providers/{name}",
            "namespace": name,
            "registrationState": self._states[name],
            "registrationPolicy": "RegistrationRequired",
            "resourceTypes": types,
        }

    def all(self) -> list[dict[str, Any]]:
        return [self.shown(name) for name in self._states]

    def _known(self, namespace: str) -> str:
        name = self._spelling.get(namespace.lower())
        if name is None:
            raise AzureError(
                404, "InvalidResourceNamespace", f"The resource namespace '{namespace}' is invalid.", target=namespace
            )
        return name
