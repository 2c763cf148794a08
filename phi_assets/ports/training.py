"""The base model and its fine-tuning."""

from abc import abstractmethod
from pathlib import Path

from phi_assets import records
from phi_assets.models.recipes import Recipe
from phi_assets.ports.base import Log, Port, StepContext

PAIRS = "preferences.jsonl"
"""The preference pairs of a dataset version, in its folder."""


class BaseModelStore(Port):
    """Stores the pretrained model that the settings name."""

    @abstractmethod
    def resolve(self, log: Log) -> records.BaseModel:
        """Return the model as a verified folder; fetch or convert it if it is missing."""

    @abstractmethod
    def folder(self, model: records.BaseModel) -> Path:
        """Return a local folder with the model's files."""


class ReplayStore(Port):
    """Stores what training replays: conversations on which a model stays as its base."""

    @abstractmethod
    def make(self, context: StepContext, base: records.BaseModel) -> records.Replay:
        """Return the conversations of the sources in the settings; the base answers those that end in a user turn."""

    @abstractmethod
    def folder(self, replay: records.Replay) -> Path:
        """Return a local folder with replay.jsonl and its report, replay.json; empty when nothing is replayed."""


class Trainer(Port):
    """Runs training_code/fine_tune.py and stores the model."""

    @abstractmethod
    def train(
        self,
        context: StepContext,
        dataset: records.DatasetVersion,
        base: records.BaseModel,
        replay: records.Replay,
        recipe: Recipe | None = None,
    ) -> records.ModelVersion:
        """Fine-tune the base model by the recipe; None takes the preset of the settings.

        A stored model of the same recipe and data is returned without training, and an interrupted training resumes
        from its checkpoint. Raises if training fails.
        """

    @abstractmethod
    def folder(self, model: records.ModelVersion) -> Path:
        """Return a local folder with model/, report.json and the plots."""

    @abstractmethod
    def remembered(self, digest: str) -> records.ModelVersion | None:
        """Return the model's record, also when its weights were cleaned; None when nothing of it is left."""

    def page(self, model: records.ModelVersion) -> str:
        """Return the address of the training's page outside this home, or an empty string."""
        del model
        return ""
