"""Model evaluation, and the registry of model versions that passed it."""

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
    """The models that one evaluation compares, and its dataset."""

    base: records.BaseModel
    tuned: records.ModelVersion
    dataset: records.DatasetVersion
    champion: records.RegisteredModel | None


class Evaluator(Port):
    """Runs evaluation_code and stores its report."""

    @abstractmethod
    def evaluate(self, context: StepContext, contest: Contest) -> records.Evaluation:
        """Measure the tuned model, the base model and the champion."""

    @abstractmethod
    def report(self, evaluation: records.Evaluation) -> dict[str, Any]:
        """Return the content of evaluation.json."""

    @abstractmethod
    def folder(self, evaluation: records.Evaluation) -> Path:
        """Return a local folder with evaluation.json, rows.jsonl and the plots."""


class ModelRegistry(Port):
    """Numbered model versions, one of which is the champion."""

    @abstractmethod
    def champion(self) -> records.RegisteredModel | None:
        """Return the champion; None if there is none yet or its weights are missing."""

    @abstractmethod
    def version(self, number: str) -> records.RegisteredModel | None:
        """Return the version with that number, even if its weights are missing; None if it never existed."""

    @abstractmethod
    def versions(self) -> list[Version]:
        """Return all versions, newest first, each with its status (champion, former or withdrawn) and reason."""

    @abstractmethod
    def tag(self, number: str, tags: Mapping[str, str]) -> None:
        """Add these tags to the version; an empty value removes what it said."""

    @abstractmethod
    def log_training(self, model: records.ModelVersion, folder: Path, tags: Mapping[str, str]) -> str:
        """Log the training's parameters, metrics and plots to a tracking run. Return the run's id.

        A model has one run, and one more for each candidate name (tag phi/candidate) under which it was trained.
        """

    @abstractmethod
    def log_evaluation(
        self, model: records.ModelVersion, evaluation: records.Evaluation, scores: Scores, candidate: str = ""
    ) -> str | None:
        """Add the scores to the model's tracking run. Return the run's id, or None if the run was deleted."""

    @abstractmethod
    def trainings(self) -> list[Trained]:
        """Return all tracked trainings: those of the asset graph and those of candidates."""

    @abstractmethod
    def register(
        self, model: records.ModelVersion, evaluation: records.Evaluation, tags: Mapping[str, str]
    ) -> records.RegisteredModel:
        """Register the model as the new champion, and return the champion.

        The champion stays if it is this model, or if this model was withdrawn. Raises ChampionChanged if the champion
        is not the one that the evaluation compared with.
        """

    @abstractmethod
    def who(self) -> str:
        """Return the person or principal as whom this process acts, for the record of a promotion or rollback."""

    @abstractmethod
    def promote(self, number: str, reason: str, run: str) -> records.RegisteredModel:
        """Make the version champion and withdraw the previous champion. `run` is the Dagster run's id.

        Raises CannotPromote.
        """

    @abstractmethod
    def rollback(self, reason: str, run: str) -> records.RegisteredModel:
        """Make the former champion champion again and withdraw the current one.

        A repeat with the same `run` changes nothing. Raises CannotPromote.
        """

    @abstractmethod
    def publish_card(self, model: records.RegisteredModel, text: str, pictures: Mapping[str, Path]) -> str:
        """Store the model card as README.md beside the weights, with its pictures by file name. Return its address."""

    @abstractmethod
    def card(self, model: records.RegisteredModel) -> str | None:
        """Return the text of the model's README.md, or None."""
