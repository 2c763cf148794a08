"""Job `why`: the lineage of an answer back to its data, with links, and the most similar training conversations."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from phi_assets import markdown
from phi_assets.answer_log import Answers, AnswersUnreadable, UnknownAnswer
from phi_assets.backends.select import build_resources
from phi_assets.graph import metadata_values
from phi_assets.graph.asset_keys import key_of
from phi_assets.lineage.steps import REVIEWED, SIMILARITY, Step, steps
from phi_assets.lineage.trace import Lineage, NotTraceable, trace
from phi_assets.markdown import Markdown
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.ports.training import BaseModelStore, Trainer
from phi_assets.settings import Settings


class Asked(dg.Config):
    """The answer to trace."""

    answer: str = Field(
        default="", description="the answer's id, as the client or `phi answers` shows it; empty: the newest answer"
    )


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Trace an answer to its deployment, model version, training and dataset, and to similar conversations.",
)
def trace_answer(
    context: dg.OpExecutionContext,
    config: Asked,
    registry: ModelRegistry,
    trainer: Trainer,
    dataset_store: DatasetStore,
    base_model_store: BaseModelStore,
    settings: dg.ResourceParam[Settings],
) -> None:
    answers = Answers(settings.state, settings.keep_answers_days)
    resources = {
        "registry": registry,
        "trainer": trainer,
        "dataset_store": dataset_store,
        "base_model_store": base_model_store,
    }
    shared = build_resources(settings).get("shared_answers")
    try:
        if shared:
            shared.fetch(answers)
        found = answers.find(config.answer) if config.answer else [answers.last()]
        lineage = trace(context.instance, resources, found)
    except (AnswersUnreadable, NotTraceable, UnknownAnswer) as e:
        raise dg.Failure(str(e), allow_retries=False) from e
    context.add_output_metadata(describe_lineage(lineage))


def describe_lineage(lineage: Lineage) -> Mapping[str, Any]:
    """Return the path that `phi why` prints as metadata, each step with its page in Dagster."""
    path = steps(lineage)
    rows = [(step.what, step.words, _links(step)) for step in path]
    runs = {f"{step.what.replace(' ', '_')}_run": dg.MetadataValue.dagster_run(step.run) for step in path if step.run}
    pages = {step.what.replace(" ", "_"): dg.MetadataValue.url(step.url) for step in path if step.url}
    assets = {step.asset: dg.MetadataValue.asset(key_of(step.asset)) for step in path if step.asset}
    return {
        "question": metadata_values.text(lineage.question),
        "answer": metadata_values.text(lineage.answer.answer),
        "path": metadata_values.table(("what", "which", "in Dagster"), rows),
        **runs,
        **pages,
        **assets,
        "nearest_conversations": _nearest(lineage),
        **({"notes": metadata_values.bullets(lineage.notes)} if lineage.notes else {}),
    }


def _links(step: Step) -> Markdown:
    run = [markdown.link(f"run {step.run[:8]}", "runs", step.run)] if step.run else []
    asset = [markdown.link(step.asset, "assets", step.asset)] if step.asset else []
    return markdown.joined(run + asset)


def _nearest(lineage: Lineage) -> dg.MarkdownMetadataValue:
    # Dagster's event log keeps what it is given, and people may take back what they said in the chat.
    rows = [
        (f"{near.similarity:.2f}", near.id, *((REVIEWED, "") if near.reviewed else (near.question, near.answer)))
        for near in lineage.nearest
    ]
    found = markdown.table(("similarity", "conversation", "question", "answer"), rows, metadata_values.CELL_CHARACTERS)
    return metadata_values.markdown(markdown.joined((SIMILARITY, found), "\n\n") if rows else Markdown("none"))


@dg.job(
    config={"ops": {"trace_answer": {"config": Asked().model_dump()}}},
    description="Trace an answer to its data, as `phi why` does: set the answer's id, or none for the newest.",
)
def why() -> None:
    trace_answer()
