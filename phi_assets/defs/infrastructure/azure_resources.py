"""The resources of one Bicep deployment, an asset each. On Azure only."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from phi_assets.defs.infrastructure.metadata import describe_resource
from phi_assets.graph import check_gates, metadata_values
from phi_assets.graph.asset_facts import NEEDS_CHAT, ONLY_ON_AZURE, PLATFORM, stored_by
from phi_assets.graph.asset_keys import key_of
from phi_assets.markdown import Markdown
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.infrastructure import CHAT_DEPLOYED, DEPLOYED, CloudResources
from phi_assets.records import CloudResource

QUOTA = "gpu_quota"
# Description and upstream assets of each resource.
ASSETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "resource_group": ("A resource group that holds everything of this project, and nothing else.", (QUOTA,)),
    "storage_account": (
        "Blob storage for datasets, models, job logs and progress messages; accessed by identity.",
        ("resource_group",),
    ),
    "key_vault": ("A key vault for the workspace's secrets.", ("resource_group",)),
    "application_insights": (
        "Application Insights on a Log Analytics workspace, for the traces of endpoints.",
        ("resource_group",),
    ),
    "container_registry": ("A registry for the images of environments.", ("resource_group",)),
    "managed_identity": ("The managed identity of jobs and endpoint.", ("resource_group",)),
    "role_assignments": (
        "The roles of the jobs' identity and of the deploying user, each with the narrowest scope.",
        ("storage_account", "container_registry", "managed_identity"),
    ),
}

CHAT: dict[str, str] = {
    "chat_database": "A serverless Cosmos DB account with the chat's history and feedback, accessed by identity.",
    "chat_environment": "The environment of the chat's Container App, an identity of its own, and the roles of that.",
}


def _out(description: str, metadata: Mapping[str, Any]) -> dg.AssetOut:
    return dg.AssetOut(
        group_name="infrastructure",
        kinds={"azure", "bicep"},
        owners=PLATFORM,
        description=description,
        metadata={**metadata, **ONLY_ON_AZURE},
        is_required=False,  # a run may select some of them
    )


@dg.multi_asset(
    outs={name: _out(description, stored_by("cloud_resources")) for name, (description, _) in ASSETS.items()},
    deps=[QUOTA],
    internal_asset_deps={name: {dg.AssetKey(upstream) for upstream in above} for name, (_, above) in ASSETS.items()},
    can_subset=True,
)
def cloud_resources_deployed(
    context: dg.AssetExecutionContext, cloud_resources: CloudResources, catalog: AssetCatalog
) -> Iterator[dg.MaterializeResult]:
    """The resources of infra/main.bicep, deployed together when the template changed or the live state differs."""
    check_gates.require_deps_passed(context.instance, catalog, [QUOTA])
    made = cloud_resources.ensure(context.log.info)
    yield from _made(context, DEPLOYED, made, cloud_resources.planned())


@dg.multi_asset(
    outs={name: _out(description, {**stored_by("chat_resources"), **NEEDS_CHAT}) for name, description in CHAT.items()},
    deps=["application_insights", "container_registry"],
    can_subset=True,
)
def chat_resources_deployed(
    context: dg.AssetExecutionContext, chat_resources: CloudResources
) -> Iterator[dg.MaterializeResult]:
    """The resources of infra/chat.bicep, in a deployment of their own: where Azure refuses it, only the chat stops."""
    made = chat_resources.ensure(context.log.info)
    yield from _made(context, CHAT_DEPLOYED, made, chat_resources.planned())


def _made(
    context: dg.AssetExecutionContext, names: Sequence[str], made: Mapping[str, CloudResource], planned: str
) -> Iterator[dg.MaterializeResult]:
    for name in names:
        if key_of(name) in context.selected_asset_keys:
            yield dg.MaterializeResult(
                asset_key=key_of(name),
                value=made[name],
                data_version=dg.DataVersion(made[name].digest),
                metadata={**describe_resource(made[name]), "planned": metadata_values.markdown(Markdown(planned))},
            )
