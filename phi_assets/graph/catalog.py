"""Facts about the assets in addition to their code: the port of each, its owner, and what each backend lacks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from phi_assets.settings import current

# The resource (port) that verifies whether what an asset made still exists.
KEPT_BY: dict[str, str] = {
    "resource_group": "cloud_resources",
    "storage_account": "cloud_resources",
    "key_vault": "cloud_resources",
    "application_insights": "cloud_resources",
    "container_registry": "cloud_resources",
    "managed_identity": "cloud_resources",
    "chat_database": "cloud_resources",
    "role_assignments": "cloud_resources",
    "gpu_quota": "compute_quota",
    "ml_workspace": "provisioner",
    "training_compute": "provisioner",
    "training_environment": "provisioner",
    "chat_dataset": "dataset_store",
    "base_model": "base_model_store",
    "fine_tuned_model": "trainer",
    "model_evaluation": "evaluator",
    "registered_model": "registry",
    "model_card": "registry",
    "online_endpoint": "endpoint_host",
    "online_deployment": "endpoint_host",
    "endpoint_connection": "connection_store",
    "chat_flow": "flow_store",
    "chat_flow_evaluation": "flow_store",
}
# The port of the resources that all other ports store in. While one of these is missing, a query there would hang.
PLACE = "cloud_resources"

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
    """The assets, checks and jobs that a backend lacks, and additional upstream assets."""

    absent: frozenset[str]
    also_after: Mapping[str, tuple[str, ...]]


GRAPHS: dict[str, Graph] = {
    "local": Graph(
        # A laptop needs no deployment and no quota.
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


ML = ["team:ml"]
PLATFORM = ["team:platform"]


def also_after(asset: str) -> tuple[str, ...]:
    """Return the asset's additional upstream assets with the chosen backend."""
    always = GRAPHS[current().backend].also_after.get(asset, ())
    return (*always, *FOR_A_JOB) if asset == "chat_dataset" and current().reads_on_azure else always


def has(names: Iterable[str]) -> bool:
    """Return whether the chosen backend has all of these assets, checks or jobs."""
    return GRAPHS[current().backend].absent.isdisjoint(names)
