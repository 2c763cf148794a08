"""The backends: which implementation of each port the assets are handed, and which of the assets each has.

The one table of what differs in the graph, read when the definitions are loaded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from phi_assets.settings import Settings, current

DEPLOYED = (
    "resource_group",
    "storage_account",
    "key_vault",
    "application_insights",
    "container_registry",
    "managed_identity",
    "chat_database",
    "role_assignments",
)
FOR_A_JOB = ("gpu_quota", "training_compute", "training_environment")


@dataclass(frozen=True)
class Graph:
    """What a backend lacks of assets, checks and jobs, and what its assets stand on beyond what their code names."""

    absent: frozenset[str]
    also_after: Mapping[str, tuple[str, ...]]


GRAPHS: dict[str, Graph] = {
    "local": Graph(
        # A laptop is there already: nothing is deployed, and nobody's quota is asked for.
        absent=frozenset({*DEPLOYED, "gpu_quota", "cluster_as_set", "preflight", "cost", "teardown"}),
        also_after={},
    ),
    "azure": Graph(
        absent=frozenset(),
        also_after={
            "resource_group": ("gpu_quota",),
            "ml_workspace": ("storage_account", "key_vault", "application_insights", "container_registry"),
            "training_compute": ("ml_workspace", "managed_identity", "gpu_quota"),
            "training_environment": ("ml_workspace", "role_assignments"),
            "chat_dataset": ("ml_workspace", "role_assignments"),
            "base_model": ("ml_workspace", "role_assignments"),
            "fine_tuned_model": ("gpu_quota", "role_assignments"),
            "model_evaluation": ("gpu_quota",),
            "online_endpoint": ("managed_identity", "role_assignments"),
        },
    ),
}


def also_after(asset: str) -> tuple[str, ...]:
    """What the asset stands on with the chosen backend, beyond what its own code names."""
    always = GRAPHS[current().backend].also_after.get(asset, ())
    return (*always, *FOR_A_JOB) if asset == "chat_dataset" and current().reads_on_azure else always


def has(names: Iterable[str]) -> bool:
    """Whether the chosen backend has every one of these assets, checks or jobs."""
    return GRAPHS[current().backend].absent.isdisjoint(names)


def build_resources(settings: Settings) -> dict[str, Any]:
    """The chosen backend's resources by the names that assets ask for."""
    if settings.backend == "local":
        from phi_assets.backends.local.resources import local_resources

        return local_resources(settings)
    from phi_assets.backends.azure.resources import azure_resources

    return azure_resources(settings)
