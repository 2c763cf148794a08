"""Tracked trainings compared: scores, promotion checks and the order in which they are listed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from phi_assets.outcome import CheckOutcome


@dataclass(frozen=True)
class Scores:
    """A model's scores in an evaluation, and the promotion rules that it fails."""

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
    """Return the tuned model's scores from an evaluation's report."""
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
    """Return the last and the best loss of a training's report, and its minutes, where present."""
    found = {
        "final_loss": report["losses"][-1]["loss"] if report["losses"] else None,
        "best_validation_loss": report.get("best_validation_loss"),
        "minutes": report["seconds"] / 60,
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def best_first(found: Iterable[Trained]) -> list[Trained]:
    """Return trainings on the newest training's dataset first: bits per byte of different test splits do not compare.

    Within these, those that pass the promotion rules come first, then by bits per byte; unevaluated ones come last.
    """
    rows = sorted(found, key=lambda each: each.began, reverse=True)
    newest = rows[0].dataset if rows else ""

    def rank(each: Trained) -> tuple[bool, bool, bool, float]:
        bits = each.scores.bits_per_byte if each.scores else None
        failed = bool(each.scores.failed) if each.scores else True
        return (each.dataset != newest, bits is None, failed, bits or 0.0)

    return sorted(rows, key=rank)


def differences(of: Trained, reference: Mapping[str, Any]) -> Sequence[str]:
    """Return `name=value` for each setting that differs from the reference, such as `learning_rate=0.0002`."""
    return [
        f"{name}={of.settings[name]}"
        for name, value in reference.items()
        if name in of.settings and of.settings[name] != str(value)
    ]
