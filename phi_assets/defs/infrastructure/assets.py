"""The workspace that tracks runs, the compute of the training, and its environment."""

import dagster as dg

from phi_assets.defs.infrastructure.metadata import describe_if_any
from phi_assets.graph import check_gates, metadata_values
from phi_assets.graph.asset_facts import PLATFORM, on_azure, stored_by
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.infrastructure import Provisioner
from phi_assets.records import Compute, TrainingEnvironment, Workspace


@dg.asset(
    group_name="infrastructure",
    kinds={"azure" if on_azure("resource_group") else "mlflow"},
    owners=PLATFORM,
    deps=on_azure("storage_account", "key_vault", "application_insights", "container_registry"),
    metadata=stored_by("provisioner"),
)
def ml_workspace(provisioner: Provisioner) -> dg.MaterializeResult[Workspace]:
    """The workspace that tracks runs and registers models."""
    workspace = provisioner.ensure_workspace()
    return dg.MaterializeResult(
        value=workspace,
        data_version=dg.DataVersion(workspace.digest),
        metadata={
            "name": workspace.name,
            "tracking_uri": workspace.tracking_uri,
            **describe_if_any(provisioner.resource(workspace)),
        },
    )


COMPUTE_NEEDS = on_azure("ml_workspace", "managed_identity", "gpu_quota")


@dg.asset(
    group_name="infrastructure",
    kinds={"python"},
    owners=PLATFORM,
    deps=COMPUTE_NEEDS,
    metadata=stored_by("provisioner"),
)
def training_compute(
    context: dg.AssetExecutionContext, provisioner: Provisioner, catalog: AssetCatalog
) -> dg.MaterializeResult[Compute]:
    """The compute that training runs on: device, cores and memory."""
    check_gates.require_deps_passed(context.instance, catalog, COMPUTE_NEEDS)
    compute = provisioner.ensure_compute()
    return dg.MaterializeResult(
        value=compute,
        data_version=dg.DataVersion(compute.digest),
        metadata={
            "name": compute.name,
            "device": compute.device,
            "cores": compute.cores,
            "memory_gb": compute.memory_gb,
            **describe_if_any(provisioner.resource(compute)),
        },
    )


@dg.asset(
    group_name="infrastructure",
    kinds={"python"},
    owners=PLATFORM,
    deps=on_azure("ml_workspace", "role_assignments"),
    metadata=stored_by("provisioner"),
)
def training_environment(provisioner: Provisioner) -> dg.MaterializeResult[TrainingEnvironment]:
    """The locked packages that training runs with."""
    environment = provisioner.ensure_environment()
    return dg.MaterializeResult(
        value=environment,
        data_version=dg.DataVersion(environment.digest),
        metadata={
            "lock": environment.name,
            "packages": metadata_values.table(("package", "version"), environment.packages.items()),
        },
    )
