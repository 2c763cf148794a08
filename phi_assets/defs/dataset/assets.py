"""The raw conversations, and the dataset version published from them."""

import dagster as dg

from phi_assets.defs.dataset.automation import TAKE_IN_NEW_DATA
from phi_assets.defs.dataset.metadata import describe_dataset
from phi_assets.graph import check_gates, code_versions
from phi_assets.graph.catalog import ML, also_after
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.ports.dataset import DatasetStore
from phi_assets.records import DatasetVersion


@observed_source(
    dg.AssetSpec(
        "raw_conversations",
        group_name="dataset",
        kinds={"json"},
        owners=ML,
        description="Conversations of PHI_DATASET and the inbox; the data version is a hash of their contents.",
        code_version=code_versions.of("raw_conversations"),
    )
)
def raw_conversations(dataset_store: DatasetStore) -> dg.DataVersion:
    return dg.DataVersion(dataset_store.source_fingerprint())


@dg.asset(
    group_name="dataset",
    kinds={"jsonl"},
    owners=ML,
    deps=[raw_conversations, *also_after("chat_dataset")],
    code_version=code_versions.of("chat_dataset"),
    automation_condition=TAKE_IN_NEW_DATA,
)
def chat_dataset(
    context: dg.AssetExecutionContext, dataset_store: DatasetStore
) -> dg.MaterializeResult[DatasetVersion]:
    """Clean conversations in frozen train, validation and test splits, published as one immutable version."""
    check_gates.require_deps_passed(context.instance, also_after("chat_dataset"))
    version = dataset_store.publish(context.log.info)
    return dg.MaterializeResult(
        value=version,
        data_version=dg.DataVersion(version.digest),
        metadata=describe_dataset(version, dataset_store.folder(version)),
    )
