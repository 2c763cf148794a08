"""Trainings side by side: what each scored, whether it would pass the gate, and in which order a person reads them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from phi_assets.outcome import CheckOutcome


@dataclass(frozen=True)
class Scores:
    """What an evaluation found of a model, in four numbers and the rules that it fails."""

    bits_per_byte: float | None
    right: float | None = field(metadata={"doc": "share of evaluation questions; None when none were asked"})
    general_kept: float | None = field(metadata={"doc": "share of what the base answers right; None when nothing"})
    failed: tuple[str, ...] = field(metadata={"doc": "names of promotion rules"})

    @property
    def gate(self) -> str:
        return f"fails {', '.join(self.failed)}" if self.failed else "passes"


@dataclass(frozen=True)
class Trained:
    """A tracked training; `candidate` is empty for one of the graph, `scores` are None before its evaluation.

    `settings` are texts by name, as far as they are tracked.
    """

    candidate: str
    recipe: str
    settings: Mapping[str, str]
    dataset: str
    model: str
    dagster_run: str
    began: float
    minutes: float | None
    loss: float | None
    validation_loss: float | None
    scores: Scores | None
    champion: str = ""
    address: str = ""


def scores_of(report: Mapping[str, Any], outcomes: Mapping[str, CheckOutcome]) -> Scores:
    """The scores of the tuned model in an evaluation's report."""
    tuned = report["models"]["tuned"]
    asked = (tuned["questions"] or {}).get("all")
    kept = tuned["general_kept"]
    return Scores(
        bits_per_byte=tuned["bits_per_byte"],
        right=asked["share"] if asked and asked["count"] else None,
        general_kept=kept["share"] if kept and kept["count"] else None,
        failed=tuple(name for name, outcome in outcomes.items() if not outcome.passed),
    )


def losses_of(report: Mapping[str, Any]) -> dict[str, float]:
    """The last and best losses of a training's report, and its minutes, as far as it has them."""
    found = {
        "final_loss": report["losses"][-1]["loss"] if report["losses"] else None,
        "best_validation_loss": report.get("best_validation_loss"),
        "minutes": report["seconds"] / 60,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def best_first(found: Iterable[Trained]) -> list[Trained]:
    """Those on the newest training's dataset first: bits per byte on another test split are another measure.

    Of these first what passes the gate, then by bits per byte; what was not evaluated comes last.
    """
    rows = sorted(found, key=lambda each: each.began, reverse=True)
    newest = rows[0].dataset if rows else ""

    def rank(each: Trained) -> tuple[bool, bool, bool, float]:
        bits = each.scores.bits_per_byte if each.scores else None
        failed = bool(each.scores.failed) if each.scores else True
        return (each.dataset != newest, bits is None, failed, bits or 0.0)

    return sorted(rows, key=rank)


def differences(of: Trained, reference: Mapping[str, Any]) -> Sequence[str]:
    """A word for each setting that is not as in the reference: `learning_rate=0.0002`."""
    return [
        f"{name}={of.settings[name]}"
        for name, value in reference.items()
        if name in of.settings and of.settings[name] != str(value)
    ]
