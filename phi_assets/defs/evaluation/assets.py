"""The evaluation of the fine-tuned model, and its registration when it passed the promotion checks."""

import dagster as dg

from phi_assets.defs.evaluation.checks import JUDGED_BY, promotion_outcomes
from phi_assets.defs.evaluation.metadata import describe_evaluation
from phi_assets.defs.evaluation.promotion_config import Promotion, by_hand, describe_change, override, tags_of, why_not
from phi_assets.graph import check_gates
from phi_assets.graph.asset_facts import ML, on_azure, stored_by
from phi_assets.models.champions import PASSED, PROMOTED
from phi_assets.models.experiments import scores_of
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.evaluation import Contest, Evaluator, ModelRegistry
from phi_assets.records import BaseModel, DatasetVersion, Evaluation, ModelVersion, RegisteredModel
from phi_assets.settings import Settings

NEEDS = on_azure("gpu_quota")


@dg.asset(
    group_name="evaluation",
    kinds={"pytorch"},
    owners=ML,
    deps=["evaluation_questions", "general_questions", *NEEDS],
    metadata=stored_by("evaluator", "evaluation_questions", "general_questions", *JUDGED_BY),
)
def model_evaluation(
    context: dg.AssetExecutionContext,
    chat_dataset: DatasetVersion,
    base_model: BaseModel,
    fine_tuned_model: ModelVersion,
    dataset_store: DatasetStore,
    evaluator: Evaluator,
    registry: ModelRegistry,
    catalog: AssetCatalog,
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[Evaluation]:
    """The fine-tuned model measured against the base and the champion: on the test split and on questions."""
    check_gates.require_deps_passed(context.instance, catalog, NEEDS)
    # Newer data may have been published while the model was trained; it is judged by what it could know.
    trained_on = dataset_store.find(fine_tuned_model.dataset_digest)
    dataset = trained_on if isinstance(trained_on, DatasetVersion) else chat_dataset
    check_gates.require_passed(catalog, "chat_dataset", dataset.digest)
    contest = Contest(base_model, fine_tuned_model, dataset, registry.champion())
    evaluation = evaluator.evaluate(context, contest)
    report = evaluator.report(evaluation)
    registry.log_evaluation(fine_tuned_model, evaluation, scores_of(report, promotion_outcomes(report, settings)))
    return dg.MaterializeResult(
        value=evaluation,
        data_version=dg.DataVersion(evaluation.digest),
        metadata=describe_evaluation(report, evaluator.folder(evaluation)),
    )


@dg.asset(group_name="evaluation", kinds={"mlflow"}, owners=ML, metadata=stored_by("registry"))
def registered_model(
    context: dg.AssetExecutionContext,
    config: Promotion,
    fine_tuned_model: ModelVersion,
    model_evaluation: Evaluation,
    evaluator: Evaluator,
    registry: ModelRegistry,
    catalog: AssetCatalog,
) -> dg.MaterializeResult[RegisteredModel]:
    """The champion: the newest model version that passed every promotion check, or the one chosen by hand."""
    run, before = context.run.root_run_id or context.run.run_id, registry.versions()
    if config.action == "gate" or config.despite:
        how = override(config, catalog, model_evaluation, run) if config.despite else PASSED
        check_gates.require_passed(catalog, "model_evaluation", model_evaluation.digest)
        if model_evaluation.model_digest != fine_tuned_model.digest:
            raise check_gates.NotPassed(
                "refused: the evaluation is of another model; materialise model_evaluation again"
            )
        tags = tags_of(fine_tuned_model, model_evaluation, evaluator.report(model_evaluation), run)
        tags[PROMOTED] = how
        model = registry.register(fine_tuned_model, model_evaluation, tags)
        if model.model_digest != fine_tuned_model.digest:
            context.log.warning(why_not(before, fine_tuned_model, model))
    else:
        model = by_hand(config, registry, run)
    return dg.MaterializeResult(
        value=model,
        data_version=dg.DataVersion(model.digest),
        metadata={
            "name": model.name,
            "version": model.version,
            "alias": "champion",
            "folder": dg.MetadataValue.path(model.address),
            **describe_change(config, before, registry.versions()),
        },
    )
