"""Tracks trainings on Azure: each is a job of the workspace, tagged with its scores, and a JSON file in the home.

Studio lists and filters jobs by these tags. The losses per step are in the job's log and report, not among Studio's
metrics, which would need MLflow in the job.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.client.role_delay import call_waiting_for_role
from phi_assets.backends.azure.training.trainer import JOB
from phi_assets.files import atomic_write
from phi_assets.graph.run_tags import CANDIDATE
from phi_assets.models.experiments import Scores, Trained, losses_of
from phi_assets.records import Evaluation, ModelVersion

FOLDER = "trainings"


def log_training(state: Path, model: ModelVersion, folder: Path, tags: Mapping[str, str]) -> str:
    """Record the training in the home, unless it is recorded, and return the job's address in Studio."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    address = job["studio"] or job["name"]
    candidate = tags.get(CANDIDATE, "")
    if _read(state, model.digest, candidate) is not None:
        return address
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    losses = losses_of(report)
    trained = Trained(
        candidate=candidate,
        recipe=model.preset,
        settings={name: str(value) for name, value in report["config"].items()},
        dataset=model.dataset_digest,
        model=model.digest,
        dagster_run=tags.get("dagster_run", model.training_run),
        # The submission time also covers an adopted job; files of older versions have none, only the report's.
        began=job.get("submitted") or (folder / JOB).stat().st_mtime - report["seconds"],
        minutes=losses.get("minutes"),
        loss=losses.get("final_loss"),
        validation_loss=losses.get("best_validation_loss"),
        scores=None,
        address=job["name"],
    )
    _write(state, trained)
    return address


def log_evaluation(
    clients: AzureClients,
    state: Path,
    model: ModelVersion,
    evaluation: Evaluation,
    scores: Scores,
    candidate: str,
    role_minutes: float,
) -> str | None:
    """Tag the training's job with the scores, and return its name; None when the home has no record of the training."""
    stored = _read(state, model.digest, candidate)
    if stored is None:
        return None
    champion = evaluation.champion or "none"
    _write(state, dataclasses.replace(stored, scores=scores, champion=champion))
    numbers = {name: getattr(scores, name) for name in ("bits_per_byte", "right", "general_kept")}
    tags = {name: f"{value:.4f}" for name, value in numbers.items() if value is not None}
    _label(clients, stored.address, {**tags, "gate": scores.gate, "champion": champion}, role_minutes)
    return stored.address


def trainings(state: Path) -> list[Trained]:
    """Every training that was tracked from this home."""
    return [_parsed(path) for path in sorted((state / FOLDER).glob("*.json"))]


def _label(clients: AzureClients, name: str, tags: Mapping[str, str], role_minutes: float) -> None:
    """Add these tags to the job; a deleted job is not created again."""
    from azure.core.exceptions import ResourceNotFoundError

    def update() -> None:
        try:
            # Not `create_or_update`: if its PATCH gets no response it PUTs the whole job, different from what it read.
            clients.ml().jobs.update(name, tags=dict(tags))
        except ResourceNotFoundError:
            log_to_run(
                f"job {name} no longer exists in the workspace: its scores are only stored in {FOLDER} of the home"
            )

    call_waiting_for_role(update, f"tagging job {name}", log_to_run, role_minutes)


def _path(state: Path, digest: str, candidate: str) -> Path:
    suffix = hashlib.sha256(candidate.encode()).hexdigest()[:8] if candidate else "graph"
    return state / FOLDER / f"{digest[:16]}-{suffix}.json"


def _read(state: Path, digest: str, candidate: str) -> Trained | None:
    path = _path(state, digest, candidate)
    return _parsed(path) if path.is_file() else None


def _parsed(path: Path) -> Trained:
    values = json.loads(path.read_text(encoding="utf-8"))
    scores = values.pop("scores")
    if scores:
        scores = Scores(**{**scores, "failed": tuple(scores["failed"])})
    return Trained(**values, scores=scores)


def _write(state: Path, trained: Trained) -> None:
    path = _path(state, trained.model, trained.candidate)
    atomic_write(path, json.dumps(dataclasses.asdict(trained), indent=2, ensure_ascii=False))
