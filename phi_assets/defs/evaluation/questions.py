"""The questions that a model is examined with: a source that changes when its files do."""

import hashlib

import dagster as dg

from phi_assets.graph import code_versions
from phi_assets.graph.catalog import ML
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.settings import GENERAL_QUESTIONS, current


@observed_source(
    dg.AssetSpec(
        "evaluation_questions",
        group_name="evaluation",
        kinds={"json"},
        owners=ML,
        description="Evaluation questions (PHI_EVALUATION_QUESTIONS) and general questions, watched by their content.",
        code_version=code_versions.of("evaluation_questions"),
    )
)
def evaluation_questions() -> dg.DataVersion:
    digest = hashlib.sha256()
    for path in (current().questions_file, GENERAL_QUESTIONS):
        digest.update(path.read_bytes() if path else b"none")
        digest.update(b"\0")
    return dg.DataVersion(digest.hexdigest())
