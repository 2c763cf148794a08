"""Job `candidate`: train another recipe on the newest dataset and evaluate it, without deploying it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from phi_assets import markdown
from phi_assets.defs.evaluation.checks import promotion_outcomes
from phi_assets.defs.evaluation.metadata import describe_evaluation
from phi_assets.defs.training.assets import NEEDS
from phi_assets.defs.training.metadata import describe_training
from phi_assets.defs.training.training_config import DATASET, dataset_of
from phi_assets.graph import check_gates, metadata_values
from phi_assets.graph.dagster_internals import add_run_tags
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.graph.run_tags import CANDIDATE
from phi_assets.markdown import Markdown
from phi_assets.models import recipes
from phi_assets.models.experiments import scores_of
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.evaluation import Contest, Evaluator, ModelRegistry
from phi_assets.ports.training import BaseModelStore, Trainer
from phi_assets.records import BaseModel, DatasetVersion, ModelVersion
from phi_assets.settings import Settings

ADOPT = Markdown(
    "To make this the recipe of the graph: save the preset below as a file, such as `winner.yaml`, set "
    "`PHI_PRESET=winner.yaml` in `.env`, and start `phi run`. The model is not trained again while dataset, base "
    "model and training code are the same; it is evaluated against the current champion, and has to pass the "
    "promotion checks."
)


class Candidate(dg.Config):
    """The recipe to train. A value that is not set is the preset's; with none set it is the graph's own recipe."""

    name: str = Field(
        default="", description="the candidate's name in MLflow and `phi experiments`; empty: the changed values"
    )
    preset: str = Field(
        default="", description="a preset of training_code/presets, or a YAML file; empty: the value of PHI_PRESET"
    )
    dataset: str = Field(default="", description=DATASET)
    method: str | None = Field(default=None, description="training method: full, lora or qlora")
    learning_rate: float | None = Field(default=None, description="highest learning rate")
    epochs: float | None = Field(default=None, description="passes over the training split")
    lora_rank: int | None = Field(default=None, description="rank of the adapter; for lora and qlora")
    lora_alpha: float | None = Field(default=None, description="the adapter is scaled by lora_alpha / lora_rank")
    batch_size: int | None = Field(default=None, description="rows in one forward pass")
    max_length: int | None = Field(
        default=None, description="maximum length of a conversation in tokens; the rest is truncated"
    )
    replay_share: float | None = Field(
        default=None, description="share of the tokens of an epoch on which the model is held to its base"
    )
    preference: str | None = Field(
        default=None, description="what is learned from preference pairs after the conversations: none or dpo"
    )
    preference_beta: float | None = Field(
        default=None, description="DPO's beta: higher keeps the model nearer to what the conversations made of it"
    )
    preference_learning_rate: float | None = Field(
        default=None, description="highest learning rate of preference training"
    )
    preference_epochs: float | None = Field(default=None, description="passes over the training pairs")
    seed: int | None = Field(
        default=None, description="random seed of the order, the adapter's initial weights and dropout"
    )

    def recipe(self, settings: Settings) -> recipes.Recipe:
        """Raises WrongRecipe."""
        wanted = {key: value for key, value in self.model_dump().items() if key not in ("name", "preset", "dataset")}
        return recipes.of(self.preset or settings.preset, wanted, self.name)


@dg.op(pool="training", description="Train another recipe on the newest dataset; the graph's own model stays.")
def train_candidate(
    context: dg.OpExecutionContext,
    config: Candidate,
    io_manager: dg.ResourceParam[RecordIOManager],
    trainer: Trainer,
    registry: ModelRegistry,
    dataset_store: DatasetStore,
    catalog: AssetCatalog,
    settings: dg.ResourceParam[Settings],
) -> ModelVersion:
    recipe = config.recipe(settings)
    add_run_tags(context.instance, context.run_id, {CANDIDATE: recipe.candidate})
    dataset = dataset_of(config.dataset, dataset_store, io_manager.require(dg.AssetKey("chat_dataset")))
    base: Any = io_manager.require(dg.AssetKey("base_model"))
    check_gates.require_deps_passed(context.instance, catalog, NEEDS)
    replay: Any = io_manager.require(dg.AssetKey("replay_conversations"))
    check_gates.require_passed(catalog, "chat_dataset", dataset.digest)
    check_gates.require_passed(catalog, "replay_conversations", replay.digest)
    model = trainer.train(context, dataset, base, replay, recipe)
    folder = trainer.folder(model)
    tags = {CANDIDATE: recipe.candidate, "dagster_run": context.run_id, "dataset": dataset.digest}
    run_id = registry.log_training(model, folder, tags)
    context.add_output_metadata(
        {
            **describe_training(model, folder),
            "candidate": metadata_values.text(recipe.candidate),
            "what_differs": metadata_values.text(
                ", ".join(f"{key}={value}" for key, value in recipe.changes.items()) or "nothing"
            ),
            "as_preset": metadata_values.markdown(
                markdown.joined((ADOPT, markdown.block(recipe.as_preset(), "yaml")), "\n\n")
            ),
            "mlflow_run": run_id,
        }
    )
    return model


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Evaluate the candidate against base model and champion, and with the promotion checks.",
)
def evaluate_candidate(
    context: dg.OpExecutionContext,
    model: ModelVersion,
    dataset_store: DatasetStore,
    base_model_store: BaseModelStore,
    evaluator: Evaluator,
    registry: ModelRegistry,
    settings: dg.ResourceParam[Settings],
) -> None:
    dataset, base = dataset_store.find(model.dataset_digest), base_model_store.find(model.base_digest)
    if not isinstance(dataset, DatasetVersion) or not isinstance(base, BaseModel):
        raise dg.Failure(
            "the candidate's dataset or base model does not exist any more; start `phi run`, then try again"
        )
    evaluation = evaluator.evaluate(context, Contest(base, model, dataset, registry.champion()))
    report = evaluator.report(evaluation)
    found = promotion_outcomes(report, settings)
    scores = scores_of(report, found)
    run = context.instance.get_run_by_id(context.run_id)  # context.run lacks the tags that the op above added
    registry.log_evaluation(model, evaluation, scores, run.tags.get(CANDIDATE, "") if run else "")
    context.add_output_metadata(
        {
            **describe_evaluation(report, evaluator.folder(evaluation)),
            "champion": evaluation.champion or "none",
            "gate": scores.gate,
            "verdicts": verdicts_table(found),
            **_numbers(scores.bits_per_byte, scores.right, scores.general_kept),
        }
    )


def verdicts_table(outcomes: Mapping[str, CheckOutcome]) -> dg.MarkdownMetadataValue:
    rows = [(name, "passes" if each.passed else "fails", each.description) for name, each in outcomes.items()]
    return metadata_values.table(("rule", "verdict", "description"), rows)


def _numbers(bits_per_byte: float | None, right: float | None, general_kept: float | None) -> dict[str, Any]:
    named = {"bits_per_byte": bits_per_byte, "right": right, "general_kept": general_kept}
    return {name: value for name, value in named.items() if value is not None}


@dg.job(
    # Empty values too: the launchpad then shows every option.
    config={"ops": {"train_candidate": {"config": Candidate().model_dump()}}},
    description="Try another recipe: train on the newest dataset, evaluate against the champion, deploy nothing. "
    "Compare the results with `phi experiments` or in MLflow.",
)
def candidate() -> None:
    evaluate_candidate(train_candidate())
