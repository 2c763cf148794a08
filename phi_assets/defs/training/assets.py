"""The pretrained model, what training replays, and the model fine-tuned on the published dataset."""

import dagster as dg

from phi_assets.defs.training.metadata import describe_base, describe_replay, describe_training
from phi_assets.defs.training.training_config import Training, dataset_of
from phi_assets.graph import check_gates
from phi_assets.graph.asset_facts import ML, on_azure, stored_by
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.ports.training import BaseModelStore, ReplayStore, Trainer
from phi_assets.records import BaseModel, DatasetVersion, ModelVersion, Replay


@dg.asset(
    group_name="training",
    kinds={"huggingface", "safetensors"},
    owners=ML,
    deps=on_azure("ml_workspace", "role_assignments"),
    metadata=stored_by("base_model_store", "base_model"),
)
def base_model(context: dg.AssetExecutionContext, base_model_store: BaseModelStore) -> dg.MaterializeResult[BaseModel]:
    """The pretrained model that fine-tuning starts from: safetensors, no remote code, one end-of-sequence token."""
    model = base_model_store.resolve(context.log.info)
    return dg.MaterializeResult(
        value=model,
        data_version=dg.DataVersion(model.digest),
        metadata=describe_base(model, base_model_store.folder(model)),
    )


NEEDS = on_azure("gpu_quota", "role_assignments")


@dg.asset(
    group_name="training",
    kinds={"json"},
    owners=ML,
    deps=["replay_sources", "general_questions", "training_compute", "training_environment", *NEEDS],
    metadata=stored_by("replay_store", "replay", "general_questions"),
    pool="training",
)
def replay_conversations(
    context: dg.AssetExecutionContext, base_model: BaseModel, replay_store: ReplayStore, catalog: AssetCatalog
) -> dg.MaterializeResult[Replay]:
    """Conversations on which training holds the model to its base: the base's own answers to general prompts."""
    check_gates.require_deps_passed(context.instance, catalog, NEEDS)
    replay = replay_store.make(context, base_model)
    context.add_asset_metadata(describe_replay(replay, replay_store.folder(replay)))
    return dg.MaterializeResult(value=replay, data_version=dg.DataVersion(replay.digest))


@dg.asset(
    group_name="training",
    kinds={"pytorch", "safetensors"},
    owners=ML,
    deps=["ml_workspace", "training_compute", "training_environment", *NEEDS],
    metadata=stored_by("trainer", "preset"),
    pool="training",
)
def fine_tuned_model(
    context: dg.AssetExecutionContext,
    chat_dataset: DatasetVersion,
    base_model: BaseModel,
    replay_conversations: Replay,
    config: Training,
    trainer: Trainer,
    registry: ModelRegistry,
    dataset_store: DatasetStore,
    catalog: AssetCatalog,
) -> dg.MaterializeResult[ModelVersion]:
    """The base model fine-tuned on the training split, as safetensors, with its report and its loss curve."""
    check_gates.require_deps_passed(context.instance, catalog, NEEDS)
    dataset = dataset_of(config.dataset, dataset_store, chat_dataset)
    check_gates.wait_for_verdicts(
        context.instance, catalog, "chat_dataset", dataset.digest, context.log.info, run=context.run.run_id
    )
    check_gates.require_passed(catalog, "chat_dataset", dataset.digest)
    check_gates.require_passed(catalog, "replay_conversations", replay_conversations.digest)
    model = trainer.train(context, dataset, base_model, replay_conversations, config.recipe())
    folder = trainer.folder(model)
    run_id = registry.log_training(model, folder, {"dagster_run": context.run_id, "dataset": dataset.digest})
    # Not in the result: Dagster would store it with the step's output too.
    context.add_asset_metadata({**describe_training(model, folder), "mlflow_run": run_id})
    return dg.MaterializeResult(value=model, data_version=dg.DataVersion(model.digest))
