"""How good a model is, and the registry of the versions that passed."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets import records
from phi_assets.models.champions import Version
from phi_assets.models.experiments import Scores, Trained
from phi_assets.ports.base import Port, StepContext


@dataclass(frozen=True)
class Contest:
    """Who is measured against whom, and on what."""

    base: records.BaseModel
    tuned: records.ModelVersion
    dataset: records.DatasetVersion
    champion: records.RegisteredModel | None


class Evaluator(Port):
    """Runs evaluation_code somewhere, and keeps its report."""

    @abstractmethod
    def evaluate(self, context: StepContext, contest: Contest) -> records.Evaluation:
        """The measured quality of the tuned model, the base and the champion."""

    @abstractmethod
    def report(self, evaluation: records.Evaluation) -> dict[str, Any]:
        """Every number of the evaluation."""

    @abstractmethod
    def folder(self, evaluation: records.Evaluation) -> Path:
        """A local folder with evaluation.json, answers.md and the pictures."""


class ModelRegistry(Port):
    """Numbered model versions, one of which is the champion."""

    @abstractmethod
    def champion(self) -> records.RegisteredModel | None:
        """The champion; None before the first, or when its weights are gone."""

    @abstractmethod
    def version(self, number: str) -> records.RegisteredModel | None:
        """The version of that number, whether or not its weights are still there; None when there never was one."""

    @abstractmethod
    def versions(self) -> list[Version]:
        """Every version, the newest first: champion, former or withdrawn, and why."""

    @abstractmethod
    def log_training(self, model: records.ModelVersion, folder: Path, tags: Mapping[str, str]) -> str:
        """The id of a tracked run with the training's parameters, metrics and pictures.

        One run a model, and one more for each candidate's name (tag phi/candidate) that it was trained under.
        """

    @abstractmethod
    def log_evaluation(
        self, model: records.ModelVersion, evaluation: records.Evaluation, scores: Scores, candidate: str = ""
    ) -> str | None:
        """The id of that run, with the scores too; None when it is not tracked any more."""

    @abstractmethod
    def trainings(self) -> list[Trained]:
        """Every tracked training, of candidates and of the graph."""

    @abstractmethod
    def register(
        self, model: records.ModelVersion, evaluation: records.Evaluation, tags: Mapping[str, str]
    ) -> records.RegisteredModel:
        """A new champion, or the present one where this model is it, or was withdrawn.

        Raises ChampionChanged when the champion is not the one that was compared with.
        """

    @abstractmethod
    def promote(self, number: str, reason: str, run: str) -> records.RegisteredModel:
        """The version is champion, and who was is withdrawn. Raises CannotPromote. `run` is the Dagster run."""

    @abstractmethod
    def rollback(self, reason: str, run: str) -> records.RegisteredModel:
        """The former champion is champion, and who was is withdrawn: once a run. Raises CannotPromote."""

    @abstractmethod
    def publish_card(self, model: records.RegisteredModel, text: str, pictures: Mapping[str, Path]) -> str:
        """The address of the model's README.md, which lies beside its weights with its pictures, by their names."""

    @abstractmethod
    def card(self, model: records.RegisteredModel) -> str | None:
        """The model's README.md; None when it has none."""
