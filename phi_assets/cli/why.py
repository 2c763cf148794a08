"""`phi why` and `phi answers`: the data behind an answer, and the stored answers."""

import dataclasses
import time
from typing import Any

from phi_assets.answer_log import question
from phi_assets.backends.select import build_resources
from phi_assets.cli.ask import answers_of
from phi_assets.cli.console import print_field, print_json, print_text
from phi_assets.cli.tables import Column, print_table
from phi_assets.graph.asset_keys import key_of
from phi_assets.instance import home, server
from phi_assets.lineage.steps import REVIEWED, SIMILARITY, Step, steps
from phi_assets.lineage.trace import Lineage, trace
from phi_assets.settings import Settings
from serving_code.answers import StoredAnswer

NO_UI = "not running: `phi dev` starts it, with a page for each of these runs and assets"
NEAREST_LINES = 3
COLUMNS = (
    Column("id"),
    Column("when"),
    Column("model"),
    Column("question", text=True),
    Column("answer", text=True),
)
NO_ANSWERS = "no answer is kept yet; ask one: phi ask 'Who are you?'"


def why(settings: Settings, answer_id: str | None, *, as_json: bool) -> int:
    """Print the lineage of an answer, of the newest for None, and return 0.

    Raises UnknownAnswer, AnswersUnreadable or NotTraceable.
    """
    resources = build_resources(settings)
    kept = answers_of(settings, resources)
    found = [kept.last()] if answer_id is None else kept.find(answer_id)
    with home.instance(settings) as instance:
        lineage = trace(instance, resources, found)
    ui = server.find(settings)
    if as_json:
        print_json(as_object(lineage, ui.address if ui else ""))
    else:
        _show(lineage, ui.address if ui else "")
    return 0


def answers(settings: Settings, count: int, *, as_json: bool) -> int:
    """Print the newest answers and return 0, also when there are none. Raises AnswersUnreadable."""
    found = answers_of(settings, build_resources(settings)).newest(count)
    if as_json:
        print_json([_as_object(each) for each in found])
    elif not found:
        print_text(NO_ANSWERS if settings.keep_answers_days > 0 else "PHI_KEEP_ANSWERS_DAYS is 0: no answers are kept")
    else:
        rows = ((each.id, _when(each), _model(each), question(each), each.answer) for each in found)
        print_table("answers, the newest first", COLUMNS, rows)
    return 0


def as_object(lineage: Lineage, ui: str) -> dict[str, Any]:
    """Return the lineage as a JSON object; links are empty when Dagster's UI is not running."""
    path = [
        {**dataclasses.asdict(step), "run_link": f"{ui}/runs/{step.run}" if ui and step.run else ""}
        for step in steps(lineage)
    ]
    lineage_fields = dataclasses.asdict(lineage)
    return {
        **lineage_fields,
        "question": lineage.question,
        "path": path,
        "lineage_link": lineage_link(ui) if ui else "",
    }


def lineage_link(ui: str) -> str:
    """The page of Dagster's UI that shows what the deployment was made from."""
    asset = "/".join(key_of("online_deployment").path)
    return f"{ui}/assets/{asset}?view=lineage&lineageScope=upstream"


def _show(lineage: Lineage, ui: str) -> None:
    print_field("question", lineage.question)
    print_field("answered", lineage.answer.answer)
    print_text("")
    for step in steps(lineage):
        print_field(step.what, step.words)
        if step.run:
            print_field("", f"Dagster run {_link(step, ui)}")
        if step.url:
            print_field("", step.url)
    print_field("in Dagster", lineage_link(ui) if ui else NO_UI)
    for note in lineage.notes:
        print_field("note", note)
    if lineage.others:
        rows = ", ".join(f"phi why row:{each.number}" for each in lineage.others)
        others = f"its client gave this id to {len(lineage.others)} more; this is the newest. The others: {rows}"
        print_field("note", others)
    if lineage.nearest:
        print_text(f"\n{SIMILARITY}")
    for near in lineage.nearest:
        print_field(f"{near.similarity:.2f}", f"{near.id}, {REVIEWED}" if near.reviewed else near.id)
        print_field("", f"asked: {near.question}", longest=NEAREST_LINES)
        print_field("", f"answered: {near.answer}", longest=NEAREST_LINES)


def _link(step: Step, ui: str) -> str:
    return f"{step.run}  {ui}/runs/{step.run}" if ui else step.run


def _when(answer: StoredAnswer) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(answer.at))


def _model(answer: StoredAnswer) -> str:
    return f"{answer.model_name} {answer.model_version}"


def _as_object(answer: StoredAnswer) -> dict[str, Any]:
    return {**dataclasses.asdict(answer), "question": question(answer)}
