"""The content of a model card, collected from the stores of dataset, models and evaluations."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets.model_card.licences import SEE_ITS_PAGE, licence_of
from phi_assets.models.champions import Version
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.evaluation import Evaluator
from phi_assets.ports.training import BaseModelStore, Trainer
from phi_assets.records import BaseModel, ModelVersion, RegisteredModel

LOSS_CURVE, EVALUATION = "loss_curve.png", "evaluation.png"


@dataclass(frozen=True)
class Stores:
    """The stores of a model's history."""

    datasets: DatasetStore
    bases: BaseModelStore
    trainer: Trainer
    evaluator: Evaluator


@dataclass(frozen=True)
class Facts:
    """The content of the card. None where this home does not have a part, or it was deleted."""

    model: RegisteredModel
    data_licence: str | None
    manifest: Mapping[str, Any] | None
    base: BaseModel | None
    base_licence: str
    trained: ModelVersion | None
    training: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None
    pictures: Mapping[str, Path]

    @property
    def complete(self) -> bool:
        return None not in (self.manifest, self.base, self.training, self.evaluation)


def gather(version: Version, evaluation: str, data_licence: str | None, stores: Stores) -> Facts:
    """Return the facts of this version; `evaluation` is the digest of its evaluation."""
    model = version.model
    trained = stores.trainer.find(model.model_digest)
    trained = trained if isinstance(trained, ModelVersion) else None
    base: Any = stores.bases.find(trained.base_digest) if trained else None
    dataset: Any = stores.datasets.find(model.dataset_digest)
    measured: Any = stores.evaluator.find(evaluation) if evaluation else None
    places = {
        LOSS_CURVE: stores.trainer.folder(trained) / LOSS_CURVE if trained else None,
        EVALUATION: stores.evaluator.folder(measured) / EVALUATION if measured else None,
    }
    return Facts(
        model=model,
        data_licence=data_licence,
        manifest=_json(stores.datasets.folder(dataset) / "manifest.json") if dataset else None,
        base=base,
        base_licence=licence_of(base.source, stores.bases.folder(base)) if base else SEE_ITS_PAGE,
        trained=trained,
        training=_json(stores.trainer.folder(trained) / "report.json") if trained else None,
        evaluation=stores.evaluator.report(measured) if measured else None,
        pictures={name: place for name, place in places.items() if place and place.is_file()},
    )


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
