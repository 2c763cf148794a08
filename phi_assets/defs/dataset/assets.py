"""The raw conversations, and the dataset version published from them."""

import dagster as dg

from phi_assets.defs.dataset.automation import TAKE_IN_NEW_DATA
from phi_assets.defs.dataset.metadata import describe_dataset
from phi_assets.graph import check_gates
from phi_assets.graph.asset_facts import ML, on_azure, stored_by
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.records import DatasetVersion
from phi_assets.settings import current


@observed_source(
    dg.AssetSpec(
        "raw_conversations",
        group_name="dataset",
        kinds={"json"},
        owners=ML,
        description="Conversations of PHI_DATASET and the inbox; the data version is a hash of their contents.",
        metadata=stored_by("dataset_store", "dataset"),
    )
)
def raw_conversations(dataset_store: DatasetStore) -> dg.ObserveResult:
    return dg.ObserveResult(data_version=dg.DataVersion(dataset_store.source_fingerprint()))


# A job that reads a hub dataset needs compute too.
FOR_A_JOB = ("gpu_quota", "training_compute", "training_environment")
NEEDS = on_azure("ml_workspace", "role_assignments", *(FOR_A_JOB if current().reads_on_azure else ()))


@dg.asset(
    group_name="dataset",
    kinds={"jsonl"},
    owners=ML,
    deps=[raw_conversations, *NEEDS],
    metadata=stored_by(
        "dataset_store",
        "dataset",
        "columns",
        "validation_share",
        "test_share",
        "own_splits",
        "near_duplicate_threshold",
        "personal_data",
        "regions",
        "names_model",
        "repairs",
        "keep_fields",
        "preferences",
        "template_tokens",
        "max_conversation_characters",
        "max_conversation_tokens",
        "long_conversations",
        "max_broken_share",
        "min_rows",
        "min_fitting_share",
        files=["serving_code/chat_text.py"],
    ),
    automation_condition=TAKE_IN_NEW_DATA,
)
def chat_dataset(
    context: dg.AssetExecutionContext, dataset_store: DatasetStore, catalog: AssetCatalog
) -> dg.MaterializeResult[DatasetVersion]:
    """Clean conversations in frozen train, validation and test splits, published as one immutable version."""
    check_gates.require_deps_passed(context.instance, catalog, NEEDS)
    version = dataset_store.publish(context.log.info)
    return dg.MaterializeResult(
        value=version,
        data_version=dg.DataVersion(version.digest),
        metadata=describe_dataset(version, dataset_store.folder(version)),
    )
