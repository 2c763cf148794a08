"""Metadata of an evaluation."""

from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.defs.evaluation.answers import answers_table, read_questions
from phi_assets.graph import metadata_values
from phi_assets.models.experiments import scores_of


def describe_evaluation(report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the scores as a table and a picture, and the models' answers side by side."""
    models = {name: numbers for name, numbers in report["models"].items() if numbers}
    return {
        "scores": metadata_values.table(
            ("model", "bits per byte", "questions right", "with shuffled answers", "general questions kept"),
            [(name, *_scores(numbers)) for name, numbers in models.items()],
        ),
        "answers": metadata_values.markdown(answers_table(read_questions(folder))),
        "picture": metadata_values.picture(folder / "evaluation.png"),
        "note": metadata_values.text(report["questions"]["note"] or ""),
        "report": dg.MetadataValue.json(report),
        "folder": dg.MetadataValue.path(str(folder)),
        **_over_time(report),
    }


def _over_time(report: dict[str, Any]) -> dict[str, dg.FloatMetadataValue]:
    """Return the numbers that Dagster plots over evaluations, without those that are missing."""
    scores = scores_of(report, {})
    values = {
        "bits_per_byte": scores.bits_per_byte,
        "questions_right_share": scores.right,
        "general_kept_share": scores.general_kept,
        "bits_against_champion": (report["comparisons"]["champion"] or {}).get("difference"),
    }
    return {name: dg.MetadataValue.float(float(value)) for name, value in values.items() if value is not None}


def _scores(numbers: dict[str, Any]) -> tuple[str, str, str, str]:
    asked = numbers["questions"] or {}
    shuffled = asked.get("shuffled_share")
    return (
        f"{numbers['bits_per_byte']:.3f}" if numbers["bits_per_byte"] is not None else "not finite",
        _share(asked.get("all")),
        f"{shuffled:.1%}" if shuffled is not None else "none asked",
        _share(numbers["general_kept"]),
    )


def _share(found: Any) -> str:
    return f"{found['right']} of {found['count']} ({found['share']:.0%})" if found and found["count"] else "none asked"
