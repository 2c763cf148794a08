"""MLflow on SQLite under the home: tracked trainings, and the model registry with its champion."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi_assets.backends.ports import ChampionChanged, ModelRegistry
from phi_assets.records import Evaluation, ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_NAME = "phi-chat"
EXPERIMENT = "phi-assets"
CHAMPION = "champion"


class MlflowRegistry(ModelRegistry):
    """Model versions in an MLflow registry. Weights stay where training put them; a version names their folder."""

    home: str

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{Path(self.home).absolute()}/mlflow.db"

    @cached_property
    def client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        self.migrate()
        return MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)

    def migrate(self) -> None:
        """The database with today's tables. Under a lock: two processes that open a new store race in MLflow."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with _locked(Path(self.home), "store"):
            SqlAlchemyStore(self.tracking_uri, self._artifacts)

    def find(self, digest: str) -> RegisteredModel | None:
        version = self._version_of(digest)
        return version if version and _has_weights(version) else None

    def champion(self) -> RegisteredModel | None:
        from mlflow.exceptions import MlflowException

        try:
            version = _record(self.client.get_model_version_by_alias(MODEL_NAME, CHAMPION))
        except MlflowException:  # no such model yet, or nobody holds the alias
            return None
        # A champion whose weights are gone can be neither compared with nor served.
        return version if _has_weights(version) else None

    def log_training(self, model: ModelVersion, folder: Path, tags: Mapping[str, str]) -> str:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        run = self.client.create_run(
            self._experiment(), tags=dict(tags), run_name=f"{model.preset} {model.digest[:12]}"
        )
        run_id = run.info.run_id
        for name, value in report["config"].items():
            self.client.log_param(run_id, name, value)
        for name, series in (("loss", report["losses"]), ("validation_loss", report["validation_losses"])):
            for point in series:
                self.client.log_metric(run_id, name, point["loss"], step=int(point["step"]))
        for artifact in ("report.json", "loss_curve.png", "mask.png"):
            self.client.log_artifact(run_id, str(folder / artifact))
        self.client.set_terminated(run_id)
        return run_id

    def register(self, model: ModelVersion, evaluation: Evaluation, tags: Mapping[str, str]) -> RegisteredModel:
        with _locked(Path(self.home), "champion"):
            present = self.champion()
            name = f"{present.name}/{present.version}" if present else None
            if present and present.model_digest == model.digest:
                return present
            if name != evaluation.champion:
                raise ChampionChanged(
                    f"the champion is {name or 'none'}, the evaluation compared with {evaluation.champion or 'none'}; "
                    "materialise model_evaluation again"
                )
            self._ensure_model()
            version = self.client.create_model_version(
                MODEL_NAME,
                source=model.address,
                tags={
                    **tags,
                    "model_digest": model.digest,
                    "dataset_digest": model.dataset_digest,
                    "training_run": model.training_run,
                },
            )
            self.client.set_registered_model_alias(MODEL_NAME, CHAMPION, version.version)
            return _record(version)

    def _version_of(self, digest: str) -> RegisteredModel | None:
        found = self.client.search_model_versions(f"name = '{MODEL_NAME}' and tags.model_digest = '{digest}'")
        return _record(found[0]) if found else None

    def _ensure_model(self) -> None:
        if not self.client.search_registered_models(f"name = '{MODEL_NAME}'"):
            self.client.create_registered_model(MODEL_NAME, description="Fine-tuned chat models that passed the gate")

    def _experiment(self) -> str:
        with _locked(Path(self.home), "experiment"):
            found = self.client.get_experiment_by_name(EXPERIMENT)
            return found.experiment_id if found else self.client.create_experiment(EXPERIMENT, self._artifacts)

    @property
    def _artifacts(self) -> str:
        return (Path(self.home).absolute() / "artifacts").as_uri()


def _record(version: Any) -> RegisteredModel:
    tags = version.tags
    return RegisteredModel(
        digest=tags["model_digest"],
        name=version.name,
        version=str(version.version),
        address=version.source,
        model_digest=tags["model_digest"],
        dataset_digest=tags["dataset_digest"],
        training_run=tags["training_run"],
    )


def _has_weights(version: RegisteredModel) -> bool:
    return Path(version.address, "model.safetensors").is_file()


@contextmanager
def _locked(home: Path, name: str) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
