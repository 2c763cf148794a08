"""The evaluation questions: a source whose data version is the hash of its files."""

import hashlib

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
        description="Evaluation questions and general questions; the data version is the hash of both files.",
        metadata=decided_by("evaluation_questions", "general_questions"),
    )
)
def evaluation_questions(settings: dg.ResourceParam[Settings]) -> dg.ObserveResult:
    digest = hashlib.sha256()
    for path in (settings.questions_file, settings.general_file):
        digest.update(path.read_bytes() if path else b"none")
        digest.update(b"\0")
    return dg.ObserveResult(data_version=dg.DataVersion(digest.hexdigest()))
