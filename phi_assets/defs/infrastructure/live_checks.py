"""Checks that compare the live state of the deployed resources with the template. On Azure only."""

from collections.abc import Iterator, Mapping

import dagster as dg

from phi_assets import bicep_template, markdown
from phi_assets.graph.asset_facts import NEEDS_CHAT, ONLY_ON_AZURE
from phi_assets.graph.asset_keys import key_of
from phi_assets.ports.infrastructure import CloudResources, Provisioner
from phi_assets.settings import current

PROVISIONED = "Azure reports it as succeeded."
CHECKS: dict[str, dict[str, str]] = {
    "resource_group": {"provisioned": PROVISIONED},
    "storage_account": {
        "provisioned": PROVISIONED,
        "no_public_access": "No blob can be read without signing in, and only over TLS 1.2.",
        "shared_keys": "Account keys are disabled; in access mode `guide` they are enabled.",
    },
    "key_vault": {
        "provisioned": PROVISIONED,
        "roles_decide": "Access is granted by roles, not by access policies.",
        "purge_protection": "Purge protection is as PHI_AZURE_PURGE_PROTECTION; it cannot be disabled once enabled.",
    },
    "application_insights": {
        "provisioned": PROVISIONED,
        "logs": "The Log Analytics workspace that stores its records exists.",
    },
    "container_registry": {
        "provisioned": PROVISIONED,
        "no_admin_password": "The admin account, a shared password, is off.",
    },
    "managed_identity": {"provisioned": "It exists, with a principal that roles can be given to."},
    "role_assignments": {
        grant.check: f"{grant.words} is in force." for grant in bicep_template.grants(current().azure_access_mode)
    },
    "ml_workspace": {
        "provisioned": PROVISIONED,
        "own_identity": "It has an identity of its own.",
        "datastores": "Its own datastores use the caller's identity; in access mode `guide` the account's key.",
        "companions": "It uses this group's storage account, vault, registry and Application Insights.",
    },
}

CHAT: dict[str, dict[str, str]] = {
    "chat_database": {
        "provisioned": PROVISIONED,
        "no_keys": "Account keys are disabled: access by identity only.",
        "serverless": "It is billed by request, and costs nothing unused.",
        "container": "The container of the chat history exists.",
        "feedback": "The container of answers that may be used for training exists.",
    },
    "chat_environment": {
        "provisioned": PROVISIONED,
        "identity": "The chat's own identity exists, with a principal that roles can be given to.",
        **{grant.check: f"{grant.words} is in force." for grant in bicep_template.chat_grants()},
    },
}


CLUSTER = {
    "provisioned": PROVISIONED,
    "machine": "Its VM size is PHI_AZURE_VM_SIZE.",
    "shrinks_to_nothing": "A node is removed after PHI_AZURE_IDLE_MINUTES without work, and the minimum is zero nodes.",
    "identity": "Its nodes use the jobs' identity.",
}


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(name, asset="training_compute", description=words, metadata=ONLY_ON_AZURE)
        for name, words in CLUSTER.items()
    ],
)
def cluster_as_set(provisioner: Provisioner) -> Iterator[dg.AssetCheckResult]:
    """Compare the live cluster with the settings; materialising the asset again corrects what Azure can change."""
    for name, finding in provisioner.examine_compute().items():
        yield dg.AssetCheckResult(
            asset_key=key_of("training_compute"),
            check_name=name,
            passed=finding.passed,
            description=markdown.text(finding.description),
        )


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(check, asset=asset, description=description, metadata=ONLY_ON_AZURE)
        for asset, checks in CHECKS.items()
        for check, description in checks.items()
    ],
    can_subset=True,
)
def as_deployed(
    context: dg.AssetCheckExecutionContext, cloud_resources: CloudResources
) -> Iterator[dg.AssetCheckResult]:
    """Fail a check for drift; materialising the asset again corrects it."""
    yield from _findings(context, CHECKS, cloud_resources)


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(check, asset=asset, description=description, metadata={**ONLY_ON_AZURE, **NEEDS_CHAT})
        for asset, checks in CHAT.items()
        for check, description in checks.items()
    ],
    can_subset=True,
)
def chat_as_deployed(
    context: dg.AssetCheckExecutionContext, chat_resources: CloudResources
) -> Iterator[dg.AssetCheckResult]:
    """Fail a check for drift of what only the chat needs; materialising the asset again corrects it."""
    yield from _findings(context, CHAT, chat_resources)


def _findings(
    context: dg.AssetCheckExecutionContext, checks: Mapping[str, Mapping[str, str]], resources: CloudResources
) -> Iterator[dg.AssetCheckResult]:
    wanted = context.selected_asset_check_keys
    for asset in checks:
        found = resources.examine(asset) if any(key.asset_key == key_of(asset) for key in wanted) else {}
        for check, finding in found.items():
            if dg.AssetCheckKey(key_of(asset), check) in wanted:
                yield dg.AssetCheckResult(
                    asset_key=key_of(asset),
                    check_name=check,
                    passed=finding.passed,
                    description=markdown.text(finding.description),
                )
