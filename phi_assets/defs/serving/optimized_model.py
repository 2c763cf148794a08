"""The champion with quantised weights, and whether it is close enough to the full model to be served."""

import dagster as dg

from phi_assets import markdown
from phi_assets.defs.serving.metadata import describe_optimized
from phi_assets.graph import check_gates
from phi_assets.graph.asset_facts import ML, NEEDS_QUANTIZED, ONLY_ON_LAPTOP, stored_by
from phi_assets.models.quantization_rules import judge
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.serving import ModelOptimizer
from phi_assets.records import DatasetVersion, OptimizedModel, RegisteredModel

HERE = ONLY_ON_LAPTOP | NEEDS_QUANTIZED
CLOSE = (
    "The quantised model is close enough to the full one to be served: likeliest tokens, distributions, bits per byte "
    "and right answers. If not, the full model is served."
)


@dg.asset(
    group_name="serving",
    kinds={"onnx"},
    owners=ML,
    deps=["evaluation_questions", "general_questions"],
    metadata=HERE | stored_by("model_optimizer", "evaluation_questions", "general_questions"),
)
def optimized_model(
    context: dg.AssetExecutionContext,
    chat_dataset: DatasetVersion,
    registered_model: RegisteredModel,
    dataset_store: DatasetStore,
    model_optimizer: ModelOptimizer,
    catalog: AssetCatalog,
) -> dg.MaterializeResult[OptimizedModel]:
    """The champion with int8 or int4 weights where that is measurably as good, or the decision to serve it in full."""
    # The champion is measured on what it never learned: the test split of the dataset that it was trained on.
    trained_on = dataset_store.find(registered_model.dataset_digest)
    dataset = trained_on if isinstance(trained_on, DatasetVersion) else chat_dataset
    check_gates.require_passed(catalog, "chat_dataset", dataset.digest)
    optimized = model_optimizer.optimize(context, registered_model, dataset)
    if optimized.note:
        context.log.warning(optimized.note)
    return dg.MaterializeResult(
        value=optimized,
        data_version=dg.DataVersion(optimized.digest),
        metadata=describe_optimized(optimized, model_optimizer.report(optimized)),
    )


@dg.asset_check(asset="optimized_model", description=CLOSE, metadata=HERE)
def close_to_full_model(optimized_model: OptimizedModel, model_optimizer: ModelOptimizer) -> dg.AssetCheckResult:
    """A warning when the full model is served instead: people are answered correctly, only more slowly."""
    outcome = judge(model_optimizer.report(optimized_model))
    return dg.AssetCheckResult(
        passed=not outcome.warning,
        severity=dg.AssetCheckSeverity.WARN,
        description=markdown.text(outcome.description),
        metadata={name: number for name, number in outcome.numbers.items() if number is not None},
    )
