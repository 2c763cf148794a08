"""`phi experiments`: every tracked training, what differs from the recipe in force, and what it is worth."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import console
from phi_assets.models import recipes
from phi_assets.models.experiments import Trained, best_first, differences
from phi_assets.settings import Settings

NONE = "no training is tracked yet: `phi run` trains, and job `candidate` tries another recipe"
NUMBERS = ("loss", "validation loss", "bits per byte", "right", "general kept", "minutes")


def experiments(settings: Settings, *, as_json: bool) -> int:
    """0, also when there are none."""
    found = best_first(build_resources(settings)["registry"].trainings())
    reference = recipes.of(settings.preset, {}).learned_from()
    if as_json:
        print(json.dumps([_told(each, reference) for each in found], ensure_ascii=False, indent=2))
    elif found:
        _show(found, reference)
    else:
        print(NONE)
    return 0


def _told(each: Trained, reference: Mapping[str, Any]) -> dict[str, Any]:
    gate = each.scores.gate if each.scores else "not evaluated"
    return {**dataclasses.asdict(each), "differs": differences(each, reference), "gate": gate}


def _show(found: list[Trained], reference: Mapping[str, Any]) -> None:
    table = Table(title="trainings, best first", title_justify="left")
    for column in ("name", "what differs", "dataset", *NUMBERS, "gate"):
        table.add_column(column, overflow="fold", justify="right" if column in NUMBERS else "left")
    for each in found:
        scores = each.scores
        table.add_row(
            Text(each.candidate or "the graph's"),
            Text(", ".join(differences(each, reference)) or "nothing"),
            each.dataset[:12],
            _number(each.loss, "{:.3f}"),
            _number(each.validation_loss, "{:.3f}"),
            _number(scores and scores.bits_per_byte, "{:.3f}"),
            _number(scores and scores.right, "{:.0%}"),
            _number(scores and scores.general_kept, "{:.0%}"),
            _number(each.minutes, "{:.1f}"),
            Text(scores.gate if scores else "not evaluated"),
        )
    console.print(table)
    if len({each.dataset for each in found}) > 1:
        console.print("Numbers of different datasets are of different test splits: compare within one.")


def _number(value: float | None, form: str) -> str:
    return form.format(value) if value is not None else ""
