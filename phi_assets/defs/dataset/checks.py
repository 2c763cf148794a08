"""The blocking checks before training: schema, separate splits, duplicates, number and length of the conversations."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg

from phi_assets.graph import check_gates
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.training import BaseModelStore
from phi_assets.records import BaseModel, DatasetVersion
from phi_assets.settings import Settings

DESCRIPTIONS = {
    "schema": "Every row has an id, a group, and messages whose roles alternate and end with the assistant.",
    "no_leakage_between_splits": "No conversation and no group of near duplicates is in two splits.",
    "no_exact_duplicates": "No conversation occurs twice.",
    "minimum_rows": "There are enough conversations to train on.",
    "few_broken_rows": "The share of broken rows, in all and in each file, is at most PHI_MAX_BROKEN_SHARE.",
    "fits_context": "The conversations fit the context length of training and base model, and have no control token.",
}
RULES = ("min_rows", "max_broken_share", "min_fitting_share")

SPECS = {spec.name: spec for spec in check_gates.blocking(__name__, "chat_dataset", DESCRIPTIONS, RULES)}


@dg.multi_asset_check(specs=[spec for name, spec in SPECS.items() if name != "fits_context"])
def published_dataset(
    chat_dataset: DatasetVersion,
    dataset_store: DatasetStore,
    catalog: AssetCatalog,
    settings: dg.ResourceParam[Settings],
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of the checks that read only the published files."""
    from phi_assets.conversations.quality_checks import examine

    folder = dataset_store.folder(chat_dataset)
    outcomes = examine(folder, min_rows=settings.min_rows, max_broken_share=settings.max_broken_share)
    for name, outcome in outcomes.items():
        yield check_gates.check_result(catalog, name, "chat_dataset", chat_dataset.digest, outcome)


@dg.asset_check(
    asset="chat_dataset",
    additional_ins={"base_model": dg.AssetIn("base_model")},
    blocking=True,
    description=DESCRIPTIONS["fits_context"],
)
def fits_context(
    chat_dataset: DatasetVersion,
    base_model: BaseModel,
    dataset_store: DatasetStore,
    base_model_store: BaseModelStore,
    catalog: AssetCatalog,
    settings: dg.ResourceParam[Settings],
) -> dg.AssetCheckResult:
    """Counted with the base model's own tokenizer and chat template. Also says how many steps training will make."""
    from phi_assets.conversations.quality_checks import fits
    from phi_assets.models import recipes

    wanted = int(recipes.preset_value(settings, "max_length"))
    length = min(wanted, base_model.context_length)
    limit = (
        f"max_length of preset {Path(settings.preset).stem}" if length == wanted else "all that the base model reads"
    )
    outcome = fits(
        dataset_store.folder(chat_dataset),
        base_model_store.folder(base_model),
        max_length=length,
        minimum_share=settings.min_fitting_share,
        limit=limit,
    )
    tokens, conversations = outcome.numbers["train_tokens"], chat_dataset.rows["train"]
    steps, per_step, few = recipes.of(settings.preset, {}).expected_steps(
        tokens, conversations, replay=bool(settings.replay_sources)
    )
    outcome = replace(
        outcome,
        description=f"{outcome.description}. Training makes about {few or f'{steps} optimizer steps'}",
        numbers={**outcome.numbers, "optimizer_steps": steps, "tokens_per_step": per_step},
    )
    return check_gates.check_result(catalog, "fits_context", "chat_dataset", chat_dataset.digest, outcome)
