"""Tracks trainings on Azure: each is a job of the workspace, tagged with its scores, and a document in blob storage.

Studio lists and filters jobs by these tags. The losses per step are metrics of the job, which it sends itself while it
runs.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from phi_assets.backends import documents
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.client.role_delay import call_waiting_for_role
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.backends.azure.storage.blob_documents import BlobDocuments
from phi_assets.backends.azure.training.trainer import JOB
from phi_assets.graph.run_tags import CANDIDATE
from phi_assets.models.experiments import Scores, Trained, losses_of
from phi_assets.records import Evaluation, ModelVersion

FOLDER = "trainings"  # of this home: trainings that were recorded before they were shared
ROOT = "phi/trainings/"


class Trainings:
    """The tracked trainings of a project. `state` is this home's folder."""

    def __init__(self, clients: AzureClients, state: Path, role_minutes: float) -> None:
        self._clients, self._state, self._role_minutes = clients, state, role_minutes
        blobs = WorkspaceBlobs(clients, log_to_run, role_minutes)
        self._documents = BlobDocuments(blobs, ROOT, state / "cache" / FOLDER)

    def log_training(self, model: ModelVersion, folder: Path, tags: Mapping[str, str]) -> str:
        """Record the training, unless it is recorded, and return the job's address in Studio."""
        job = json.loads((folder / JOB).read_text(encoding="utf-8"))
        address = job["studio"] or job["name"]
        candidate = tags.get(CANDIDATE, "")
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
        self._change(model.digest, candidate, lambda stored: stored or trained)
        return address

    def log_evaluation(self, model: ModelVersion, evaluation: Evaluation, scores: Scores, candidate: str) -> str | None:
        """Tag the training's job with the scores, and return its name; None when the training is not recorded."""
        champion = evaluation.champion or "none"
        stored = self._change(
            model.digest,
            candidate,
            lambda stored: stored and dataclasses.replace(stored, scores=scores, champion=champion),
        )
        if stored is None:
            return None
        numbers = {name: getattr(scores, name) for name in ("bits_per_byte", "right", "general_kept")}
        tags = {name: f"{value:.4f}" for name, value in numbers.items() if value is not None}
        self._label(stored.address, {**tags, "gate": scores.gate, "champion": champion})
        return stored.address

    def all(self) -> list[Trained]:
        """Every tracked training of the project, and those that only this home has."""
        return [_parsed(content) for _, content in sorted(self.contents().items())]

    def contents(self) -> dict[str, bytes]:
        """The document of each tracked training, by name."""
        here = {path.name: path.read_bytes() for path in (self._state / FOLDER).glob("*.json")}
        return {**here, **self._documents.all()}

    def _change(
        self, digest: str, candidate: str, changed: Callable[[Trained | None], Trained | None]
    ) -> Trained | None:
        """Store what `changed` makes of the stored training, and return it; None when there is none."""
        name = _name(digest, candidate)
        here = self._state / FOLDER / name
        result: list[Trained | None] = []

        def renewed(content: bytes | None) -> bytes | None:
            content = content or (here.read_bytes() if here.is_file() else None)
            result[:] = [changed(_parsed(content) if content else None)]
            return _written(result[0]) if result[0] else None

        documents.change(self._documents, name, renewed)
        return result[0]

    def _label(self, name: str, tags: Mapping[str, str]) -> None:
        """Add these tags to the job; a deleted job is not created again."""
        from azure.core.exceptions import ResourceNotFoundError

        def update() -> None:
            try:
                # Not `create_or_update`: if its PATCH gets no response it PUTs the whole job, different from what it
                # read.
                self._clients.ml().jobs.update(name, tags=dict(tags))
            except ResourceNotFoundError:
                log_to_run(f"job {name} no longer exists in the workspace: its scores are only stored in {ROOT}")

        call_waiting_for_role(update, f"tagging job {name}", log_to_run, self._role_minutes)


def _name(digest: str, candidate: str) -> str:
    suffix = hashlib.sha256(candidate.encode()).hexdigest()[:8] if candidate else "graph"
    return f"{digest[:16]}-{suffix}.json"


def _parsed(content: bytes) -> Trained:
    values = json.loads(content)
    scores = values.pop("scores")
    if scores:
        scores = Scores(**{**scores, "failed": tuple(scores["failed"])})
    return Trained(**values, scores=scores)


def _written(trained: Trained) -> bytes:
    return json.dumps(dataclasses.asdict(trained), indent=2).encode()
