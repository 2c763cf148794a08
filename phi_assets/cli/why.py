"""`phi why` and `phi answers`: the data behind an answer, and the stored answers."""

import dataclasses
import json
from typing import Any

from rich.table import Table
from rich.text import Text

from phi_assets.answer_log import Answers, question, when
from phi_assets.backends.select import build_resources
from phi_assets.cli.console import console
from phi_assets.instance import home, server
from phi_assets.lineage.steps import SIMILARITY, Step, steps
from phi_assets.lineage.trace import Lineage, trace
from phi_assets.settings import Settings
from serving_code.answers import StoredAnswer

LINEAGE = "/assets/online_deployment?view=lineage&lineageScope=upstream"
NO_UI = "not running: `phi dev` starts it, with a page for each of these runs and assets"
NO_ANSWERS = "no answer is kept yet; ask one: phi ask 'Who are you?'"


def why(settings: Settings, answer_id: str | None, *, as_json: bool) -> int:
    """Print the lineage of an answer, of the newest for None, and return 0.

    Raises UnknownAnswer, AnswersUnreadable or NotTraceable.
    """
    kept = Answers(settings.state, settings.keep_answers_days)
    found = [kept.last()] if answer_id is None else kept.find(answer_id)
    with home.instance(settings) as instance:
        lineage = trace(instance, build_resources(settings), found)
    ui = server.find(settings)
    if as_json:
        print(json.dumps(as_object(lineage, ui.address if ui else ""), ensure_ascii=False, indent=2))
    else:
        _show(lineage, ui.address if ui else "")
    return 0


def answers(settings: Settings, count: int, *, as_json: bool) -> int:
    """Print the newest answers and return 0, also when there are none. Raises AnswersUnreadable."""
    found = Answers(settings.state, settings.keep_answers_days).newest(count)
    if as_json:
        print(json.dumps([_as_object(each) for each in found], ensure_ascii=False, indent=2))
    elif not found:
        print(NO_ANSWERS if settings.keep_answers_days > 0 else "PHI_KEEP_ANSWERS_DAYS is 0: no answers are kept")
    else:
        table = Table(title="answers, the newest first", title_justify="left")
        for column in ("id", "when", "model", "question", "answer"):
            table.add_column(column, overflow="fold")
        for each in found:
            model = f"{each.model_name} {each.model_version}"
            table.add_row(*map(Text, (each.id, when(each.at), model, question(each), each.answer)))
        console.print(table)
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
        "lineage_link": f"{ui}{LINEAGE}" if ui else "",
    }


def _show(lineage: Lineage, ui: str) -> None:
    _line("question", lineage.question)
    _line("answered", lineage.answer.answer)
    console.print()
    for step in steps(lineage):
        _line(step.what, step.words)
        if step.run:
            _line("", f"Dagster run {_link(step, ui)}")
        if step.url:
            _line("", step.url)
    _line("in Dagster", f"{ui}{LINEAGE}" if ui else NO_UI)
    for note in lineage.notes:
        _line("note", note)
    if lineage.others:
        rows = ", ".join(f"phi why row:{each.number}" for each in lineage.others)
        _line("note", f"its client gave this id to {len(lineage.others)} more; this is the newest. The others: {rows}")
    if lineage.nearest:
        console.print(f"\n{SIMILARITY}", markup=False)
    for near in lineage.nearest:
        _line(f"{near.similarity:.2f}", near.id)
        _line("", f"asked    {near.question}")
        _line("", f"answered {near.answer}")


def _line(what: str, words: str) -> None:
    console.print(Text.assemble((f"{what:<15} ", "cyan"), " ".join(words.split("\n"))))


def _link(step: Step, ui: str) -> str:
    return f"{step.run}  {ui}/runs/{step.run}" if ui else step.run


def _as_object(answer: StoredAnswer) -> dict[str, Any]:
    return {**dataclasses.asdict(answer), "question": question(answer)}
