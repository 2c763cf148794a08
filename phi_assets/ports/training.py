"""The base model, and the fine-tuning of it."""

from abc import abstractmethod
from pathlib import Path

from phi_assets import records
from phi_assets.models.recipes import Recipe
from phi_assets.ports.base import Log, Port, StepContext


class BaseModelStore(Port):
    """The pretrained model that the settings name."""

    @abstractmethod
    def resolve(self, log: Log) -> records.BaseModel:
        """The model as a checked folder, made when it is missing."""

    @abstractmethod
    def folder(self, model: records.BaseModel) -> Path:
        """A local folder with the model's files."""


class Trainer(Port):
    """Runs training_code/fine_tune.py somewhere, and keeps what it made."""

    @abstractmethod
    def train(
        self,
        context: StepContext,
        dataset: records.DatasetVersion,
        base: records.BaseModel,
        recipe: Recipe | None = None,
    ) -> records.ModelVersion:
        """A model fine-tuned by the recipe; None: by the preset of the settings.

        What the same recipe made of the same data is found, not trained again, and a run that was cut short is taken up
        again. Raises when training did not end well.
        """

    @abstractmethod
    def folder(self, model: records.ModelVersion) -> Path:
        """A local folder with model/, report.json and the pictures."""

    def page(self, model: records.ModelVersion) -> str:
        """Where the training is looked at outside this home; empty where that is nowhere."""
        del model
        return ""
