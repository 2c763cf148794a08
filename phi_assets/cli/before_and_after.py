"""The same questions, before fine-tuning and after: the base's recorded answers beside the endpoint's live ones."""

import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from phi_assets.cli import ask
from phi_assets.cli.console import console
from phi_assets.graph.staleness import AssetState
from phi_assets.records import Evaluation
from phi_assets.settings import Settings

SHOWN = 3
SHARE = "{right} of {count} ({share:.0%})"


def show_before_and_after(settings: Settings, states: Mapping[str, AssetState], resources: Mapping[str, Any]) -> None:
    """A table of questions and answers, and the numbers of the evaluation behind it."""
    evaluation = states["model_evaluation"].record
    if not isinstance(evaluation, Evaluation):
        return
    evaluator = resources["evaluator"]
    rows = [json.loads(line) for line in (evaluator.folder(evaluation) / "rows.jsonl").open(encoding="utf-8")]
    questions = [row for row in rows if row["kind"] == "question" and len(row["messages"]) == 1][:SHOWN]
    if questions:
        _show_answers(settings, questions, from_endpoint="endpoint_host" in resources)
    _show_scores(evaluator.report(evaluation))


def _show_answers(settings: Settings, questions: list[dict[str, Any]], *, from_endpoint: bool) -> None:
    table = Table(title="before and after", title_justify="left")
    for column in ("question", "base model", f"fine-tuned, from the {'endpoint' if from_endpoint else 'evaluation'}"):
        table.add_column(column, overflow="fold")
    for row in questions:
        text = row["messages"][-1]["content"]
        tuned = ask.ask_deployed(settings, text)["answer"] if from_endpoint else row["tuned"]["reply"]
        table.add_row(text, row["base"]["reply"], tuned)
    console.print(table)


def _show_scores(report: Mapping[str, Any]) -> None:
    for name, numbers in report["models"].items():
        if not numbers:
            continue
        bits = numbers["bits_per_byte"]
        words = ["bits per byte not finite" if bits is None else f"{bits:.3f} bits per byte on the test split"]
        for label, found in (
            ("evaluation questions right", (numbers["questions"] or {}).get("all")),
            ("general questions kept", numbers["general_kept"]),
        ):
            if found and found["count"]:
                words.append(f"{label}: {SHARE.format(**found)}")
        shuffled = (numbers["questions"] or {}).get("shuffled_share")
        if shuffled is not None:
            words.append(f"right with shuffled answer keys: {shuffled:.1%}")
        console.print(f"{name:<9} {'; '.join(words)}")
    if report["questions"]["note"]:
        console.print(report["questions"]["note"])
