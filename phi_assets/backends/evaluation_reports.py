"""Stores evaluations on this machine: a folder for each, identified by the SHA-256 of its report."""

import hashlib
import json
from pathlib import Path
from typing import Any

from phi_assets.backends import content_store
from phi_assets.files import file_sha256
from phi_assets.models import champions
from phi_assets.ports.evaluation import Contest
from phi_assets.records import Evaluation

REPORT = "evaluation.json"


def find(root: Path, digest: str) -> Evaluation | None:
    """The stored evaluation with the digest, if its report is intact; otherwise None."""
    found = content_store.find(root, digest, lambda folder: _is_intact(folder / REPORT, digest))
    return found if isinstance(found, Evaluation) else None


def _is_intact(report: Path, digest: str) -> bool:
    return report.is_file() and file_sha256(report) == digest


def read(folder: Path) -> dict[str, Any]:
    """The report of the evaluation in the folder."""
    return json.loads((folder / REPORT).read_text(encoding="utf-8"))


def keep(staged: Path, root: Path, contest: Contest) -> Evaluation:
    """Move the folder `staged` of a finished evaluation to its place under `root`, and return its record."""
    digest = hashlib.sha256((staged / REPORT).read_bytes()).hexdigest()
    folder = content_store.accept(staged, root, digest)
    evaluation = Evaluation(
        digest=digest,
        address=str(folder),
        model_digest=contest.tuned.digest,
        dataset_digest=contest.dataset.digest,
        champion=champions.name_of(contest.champion),
    )
    content_store.put(evaluation, folder)
    return evaluation
