"""Is what was deployed still as the template has it? Each check reads the live state. On Azure only."""

from collections.abc import Iterator

import dagster as dg

from phi_assets import bicep_template
from phi_assets.ports.infrastructure import CloudResources, Provisioner
from phi_assets.settings import current

PROVISIONED = "Azure reports it as succeeded."
CHECKS: dict[str, dict[str, str]] = {
    "resource_group": {"provisioned": PROVISIONED},
    "storage_account": {
        "provisioned": PROVISIONED,
        "no_public_access": "No blob can be read without signing in, and only over TLS 1.2.",
        "shared_keys": "Account keys open nothing; in the guide's mode they do.",
    },
    "key_vault": {
        "provisioned": PROVISIONED,
        "roles_decide": "Roles decide who reads it, not access policies.",
        "purge_protection": "As PHI_AZURE_PURGE_PROTECTION says; once on it stays on.",
    },
    "application_insights": {
        "provisioned": PROVISIONED,
        "logs": "The Log Analytics workspace that keeps its records is there.",
    },
    "container_registry": {
        "provisioned": PROVISIONED,
        "no_admin_password": "The admin account, a shared password, is off.",
    },
    "managed_identity": {"provisioned": "It exists, with a principal that roles can be given to."},
    "chat_database": {
        "provisioned": PROVISIONED,
        "no_keys": "Account keys open nothing: identity only.",
        "serverless": "It is billed by request, and costs nothing unused.",
        "container": "The container of the chat history is there.",
    },
    "role_assignments": {
        grant.check: f"{grant.words} is in force." for grant in bicep_template.grants(current().azure_access_mode)
    },
    "ml_workspace": {
        "provisioned": PROVISIONED,
        "own_identity": "It works as an identity of its own.",
        "datastores": "Its own datastores are opened as whoever asks; in the guide's mode with the account's key.",
        "companions": "It uses this group's storage account, vault, registry and Application Insights.",
    },
}


CLUSTER = {
    "provisioned": PROVISIONED,
    "machine": "It is of the size that PHI_AZURE_VM_SIZE names.",
    "shrinks_to_nothing": "No node stands idle for longer than PHI_AZURE_IDLE_MINUTES, and none when nobody trains.",
    "identity": "Its nodes work as the jobs' identity.",
}


@dg.multi_asset_check(
    specs=[dg.AssetCheckSpec(name, asset="training_compute", description=words) for name, words in CLUSTER.items()],
)
def cluster_as_set(provisioner: Provisioner) -> Iterator[dg.AssetCheckResult]:
    """The cluster that lives, against the settings; making the asset again mends what can be."""
    for name, finding in provisioner.examine_compute().items():
        yield dg.AssetCheckResult(
            asset_key="training_compute", check_name=name, passed=finding.passed, description=finding.description
        )


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(check, asset=asset, description=description)
        for asset, checks in CHECKS.items()
        for check, description in checks.items()
    ],
    can_subset=True,
)
def as_deployed(
    context: dg.AssetCheckExecutionContext, cloud_resources: CloudResources
) -> Iterator[dg.AssetCheckResult]:
    """Drift is a failed check; making the asset again mends it."""
    wanted = context.selected_asset_check_keys
    for asset in CHECKS:
        found = cloud_resources.examine(asset) if any(key.asset_key == dg.AssetKey(asset) for key in wanted) else {}
        for check, finding in found.items():
            if dg.AssetCheckKey(dg.AssetKey(asset), check) in wanted:
                yield dg.AssetCheckResult(
                    asset_key=asset, check_name=check, passed=finding.passed, description=finding.description
                )
