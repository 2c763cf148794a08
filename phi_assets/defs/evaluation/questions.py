"""The questions that models are evaluated by: sources whose data version is the hash of their file."""

import hashlib
from pathlib import Path

import dagster as dg

from phi_assets.graph.asset_facts import ML, decided_by
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.settings import Settings


@observed_source(
    dg.AssetSpec(
        "evaluation_questions",
        group_name="evaluation",
        kinds={"json"},
        owners=ML,
        description="Questions of PHI_EVALUATION_QUESTIONS, on what is learned; the data version is their hash.",
        metadata=decided_by("evaluation_questions"),
    )
)
def evaluation_questions(settings: dg.ResourceParam[Settings]) -> dg.ObserveResult:
    return dg.ObserveResult(data_version=_version(settings.questions_file))


@observed_source(
    dg.AssetSpec(
        "general_questions",
        group_name="evaluation",
        kinds={"json"},
        owners=ML,
        description="Questions of PHI_GENERAL_QUESTIONS, on what the base knows; the data version is their hash.",
        metadata=decided_by("general_questions"),
    )
)
def general_questions(settings: dg.ResourceParam[Settings]) -> dg.ObserveResult:
    return dg.ObserveResult(data_version=_version(settings.general_file))


def _version(file: Path | None) -> dg.DataVersion:
    return dg.DataVersion(hashlib.sha256(file.read_bytes() if file else b"none").hexdigest())
