"""Resource types of Microsoft.MachineLearningServices."""

from azure_emulator.machine_learning import (
    assets,
    clusters,
    connections,
    endpoints,
    jobs,
    online_deployments,
    workspaces,
)
from azure_emulator.resource_manager.resource_types import Kind

_WORKSPACE = "Microsoft.MachineLearningServices/workspaces"
KINDS = (
    Kind(
        _WORKSPACE,
        workspaces.complete,
        settle=workspaces.settle,
        dropped=workspaces.dropped,
        name=r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}",
        name_error=(
            "ValidationError",
            "Workspace name '{name}' is invalid: between 3 and 33 letters, digits, hyphens and underscores.",
        ),
        seconds=3.0,
    ),
    Kind(
        f"{_WORKSPACE}/computes",
        clusters.complete,
        settle=clusters.settle,
        dropped=clusters.dropped,
        name=r"[A-Za-z](?!.*--)[A-Za-z0-9-]{0,30}[A-Za-z0-9]",
        name_error=(
            "ComputeNameInvalid",
            "Compute name '{name}' is invalid: 2 to 32 letters, digits and hyphens, starting with a letter.",
        ),
        seconds=2.0,
    ),
    Kind(f"{_WORKSPACE}/datastores", workspaces.complete_datastore, located=False),
    Kind(
        connections.TYPE,
        connections.complete,
        located=False,
        name=connections.NAME,
        name_error=(
            "ValidationError",
            "Connection name '{name}' is invalid: 3 to 33 letters, digits, hyphens and underscores.",
        ),
    ),
    Kind(
        f"{_WORKSPACE}/jobs", jobs.complete, settle=jobs.settle, located=False, name=r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}"
    ),
    Kind(
        endpoints.TYPE,
        endpoints.complete,
        dropped=endpoints.dropped,
        name=r"[a-z][a-z0-9-]{1,30}[a-z0-9]",
        name_error=(
            "BadRequest",
            "Endpoint name '{name}' is invalid: 3 to 32 small letters, digits and hyphens, starting with a letter.",
        ),
    ),
    Kind(
        online_deployments.TYPE,
        online_deployments.complete,
        dropped=online_deployments.dropped,
        name=r"[a-z][a-z0-9-]{1,30}[a-z0-9]",
        name_error=(
            "BadRequest",
            "Deployment name '{name}' is invalid: 3 to 32 small letters, digits and hyphens, a letter first.",
        ),
    ),
    *assets.KINDS,
)
