"""MLflow on SQLite under the home: experiment tracking, and the model registry with its champion."""

import getpass
import os
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from phi_assets.backends.local.training import experiment, tracking
from phi_assets.backends.local.training.experiment import DATABASE
from phi_assets.files import atomic_write, locked
from phi_assets.model_card import record
from phi_assets.models import champions
from phi_assets.models.champions import Version
from phi_assets.models.experiments import Scores, Trained
from phi_assets.ports.base import Decides
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.records import Evaluation, ModelCard, ModelVersion, RegisteredModel
from phi_assets.sqlite_cache import SqliteCache

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_NAME = "phi-chat"
CHAMPION = "champion"


class MlflowRegistry(ModelRegistry):
    """Model versions in an MLflow registry. A version refers to the folder where training stored the weights."""

    decides: ClassVar = {
        "registered_model": Decides(),
    }
    home: str

    @property
    def tracking_uri(self) -> str:
        return experiment.tracking_uri(self.home)

    @cached_property
    def client(self) -> "MlflowClient":
        return experiment.client_of(self.home)

    def migrate(self) -> None:
        """Migrate the database to the current schema, under a lock: MLflow races in a new store. Raises DamagedFile."""
        experiment.migrate(self.home)

    def find(self, digest: str) -> RegisteredModel | ModelCard | None:
        return record.find_in(self, digest)

    def champion(self) -> RegisteredModel | None:
        stack = champions.champions(self.versions())
        # A champion without weights can be neither evaluated nor deployed.
        return stack[-1].model if stack and self.has_weights(stack[-1].model) else None

    def version(self, number: str) -> RegisteredModel | None:
        return next((each.model for each in self.versions() if each.number == number), None)

    def versions(self) -> list[Version]:
        return champions.ordered(
            champions.version_of(_record(each), each["tags"], _at(each["created"])) for each in self._listed()
        )

    def _listed(self) -> list[dict[str, Any]]:
        """The model versions in MLflow, cached because importing MLflow takes seconds."""
        home = Path(self.home)
        cache = SqliteCache(home / "versions.json", (home / DATABASE,))
        listed, state = cache.get(), cache.state()
        if listed is None:
            found = self.client.search_model_versions(f"name = '{MODEL_NAME}'")
            listed = [_fields(each) for each in found if "model_digest" in each.tags]
            cache.put(listed, state)
        return listed

    def promote(self, number: str, reason: str, run: str) -> RegisteredModel:
        with self._locked("champion"):
            return self._crown(champions.promote(self, number, reason, run))

    def rollback(self, reason: str, run: str) -> RegisteredModel:
        with self._locked("champion"):
            return self._crown(champions.rollback(self, reason, run))

    def who(self) -> str:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container without this user's name
            user = f"user {os.getuid()}"
        return f"{user} on {socket.gethostname()}"

    def tag(self, number: str, tags: Mapping[str, str]) -> None:
        """Add these tags to the version."""
        for name, value in tags.items():
            self.client.set_model_version_tag(MODEL_NAME, number, name, value)

    def has_weights(self, model: RegisteredModel) -> bool:
        """Whether the weights that the version refers to still exist."""
        return Path(model.address, "model.safetensors").is_file()

    def _locked(self, name: str) -> AbstractContextManager[object]:
        return locked(Path(self.home, f".{name}.lock"))

    def publish_card(self, model: RegisteredModel, text: str, pictures: Mapping[str, Path]) -> str:
        folder = Path(model.address)
        for name, picture in pictures.items():
            atomic_write(folder / name, picture.read_bytes())
        atomic_write(folder / record.README, text)
        return str(folder / record.README)

    def card(self, model: RegisteredModel) -> str | None:
        path = Path(model.address, record.README)
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def log_training(self, model: ModelVersion, folder: Path, tags: Mapping[str, str]) -> str:
        return tracking.log_training(self.client, self.experiment(), model, folder, tags)

    def log_evaluation(
        self, model: ModelVersion, evaluation: Evaluation, scores: Scores, candidate: str = ""
    ) -> str | None:
        return tracking.log_evaluation(self.client, self.experiment(), model, evaluation, scores, candidate)

    def trainings(self) -> list[Trained]:
        return tracking.trainings(self.client, self.experiment())

    def register(self, model: ModelVersion, evaluation: Evaluation, tags: Mapping[str, str]) -> RegisteredModel:
        with self._locked("champion"):
            present = self.champion()
            if present and present.model_digest == model.digest:
                return present
            versions = self.versions()
            if champions.withdrawn(versions, model.digest):
                return champions.in_its_place(versions, model.digest, present)
            name = champions.name_of(present)
            if name != evaluation.champion:
                raise champions.champion_changed(evaluation, name)
            self._ensure_model()
            version = self.client.create_model_version(
                MODEL_NAME,
                source=model.address,
                tags={
                    **tags,
                    **champions.set_only(
                        champions.promotion_tags(versions, tags.get(champions.PROMOTED, champions.PASSED), self.who())
                    ),
                    "model_digest": model.digest,
                    "dataset_digest": model.dataset_digest,
                    "training_run": model.training_run,
                },
            )
            return self._crown(_record(_fields(version)))

    def _crown(self, model: RegisteredModel) -> RegisteredModel:
        """Set MLflow's alias to match the tags, for `models:/phi-chat@champion` and the UI. Nothing here reads it."""
        self.client.set_registered_model_alias(MODEL_NAME, CHAMPION, model.version)
        return model

    def _ensure_model(self) -> None:
        if not self.client.search_registered_models(f"name = '{MODEL_NAME}'"):
            self.client.create_registered_model(MODEL_NAME, description="Fine-tuned chat models that passed the gate")

    def experiment(self) -> str:
        """Return the id of the experiment that trainings are tracked in; created if missing."""
        return experiment.experiment_id(self.client, self.home)


def _fields(version: Any) -> dict[str, Any]:
    """The fields of MLflow's model version that are used; `created` in milliseconds since 1970."""
    return {
        "name": version.name,
        "version": str(version.version),
        "source": version.source,
        "tags": dict(version.tags),
        "created": version.creation_timestamp,
    }


def _record(fields: dict[str, Any]) -> RegisteredModel:
    tags = fields["tags"]
    return RegisteredModel(
        digest=tags["model_digest"],
        name=fields["name"],
        version=fields["version"],
        address=fields["source"],
        model_digest=tags["model_digest"],
        dataset_digest=tags["dataset_digest"],
        training_run=tags["training_run"],
    )


def _at(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
