"""The champion's model card."""

import dagster as dg

from phi_assets.graph import check_gates, metadata_values
from phi_assets.graph.asset_facts import ML, stored_by
from phi_assets.markdown import Markdown
from phi_assets.model_card import record
from phi_assets.model_card.facts import Stores, gather
from phi_assets.model_card.text import write
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.evaluation import Evaluator, ModelRegistry
from phi_assets.ports.training import BaseModelStore, Trainer
from phi_assets.records import Evaluation, ModelCard, RegisteredModel
from phi_assets.settings import Settings

CARD_FILES = ["phi_assets/model_card/card.jinja", "phi_assets/markdown.py", "phi_assets/plain_text.py"]


@dg.asset(
    group_name="evaluation",
    kinds={"markdown"},
    owners=ML,
    metadata=stored_by("registry", "dataset_license", files=CARD_FILES),
    # The deployment of the champion must not wait for its card.
    op_tags={"dagster/priority": "-1"},
)
def model_card(
    context: dg.AssetExecutionContext,
    registered_model: RegisteredModel,
    model_evaluation: Evaluation,
    dataset_store: DatasetStore,
    base_model_store: BaseModelStore,
    trainer: Trainer,
    evaluator: Evaluator,
    registry: ModelRegistry,
    catalog: AssetCatalog,
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[ModelCard]:
    """The champion's README.md, with its weights: data, metrics, pictures, use and limits, licences, reproduction."""
    version = next(each for each in registry.versions() if each.number == registered_model.version)
    measured = version.evaluation
    if model_evaluation.model_digest == registered_model.model_digest:
        check_gates.require_passed(catalog, "model_evaluation", model_evaluation.digest)
        measured = model_evaluation.digest
    stores = Stores(dataset_store, base_model_store, trainer, evaluator)
    facts = gather(version, measured, settings.dataset_license, stores)
    published = registry.card(registered_model)
    # The published card may hold facts that this home does not have.
    keeps = published is not None and not facts.complete
    text = published if published is not None and keeps else write(facts)
    body = text.partition("\n---\n")[2]
    registry.publish_card(registered_model, text, facts.pictures)
    card = record.record(registered_model, text)
    return dg.MaterializeResult(
        value=card,
        data_version=dg.DataVersion(card.digest),
        metadata={
            # The published card may be of an earlier version, which escaped nothing.
            "card": metadata_values.block(body, "markdown")
            if keeps
            else metadata_values.markdown(metadata_values.with_pictures(Markdown(body), facts.pictures)),
            "address": dg.MetadataValue.path(card.address),
            "version": card.model_version,
        },
    )
