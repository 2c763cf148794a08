"""Resource types of Microsoft.MachineLearningServices."""

from tests.azure_emulator.kinds import Kind
from tests.azure_emulator.machine_learning import assets, clusters, jobs, workspaces

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
    Kind(f"{_WORKSPACE}/connections", located=False),
    Kind(
        f"{_WORKSPACE}/jobs", jobs.complete, settle=jobs.settle, located=False, name=r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}"
    ),
    *assets.KINDS,
)
