"""What differs between a laptop and Azure: one abstract resource per capability, named for the capability.

Every port can `find(digest)`: the record of what really exists under that digest now, or None. The event log only knows
what once was made; a deleted folder or a dead endpoint is seen here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from phi_assets import records
from phi_assets.models.champions import Version
from phi_assets.models.experiments import Scores, Trained
from phi_assets.models.recipes import Recipe

if TYPE_CHECKING:
    from phi_assets.conversations.sources.feeds import Feed

Log = Callable[[str], None]
StepContext = dg.AssetExecutionContext | dg.OpExecutionContext  # of an asset, or of a candidate's op
Metadata = Mapping[str, Any]


class BackendError(dg.Failure):
    """What the backend refused or could not do, in one sentence that names the cure.

    `cure` is that part of the sentence, where it is known apart; it stands in the metadata of the failed step too.
    """

    def __init__(
        self, description: str | None = None, *, cure: str = "", metadata: Metadata | None = None, **others: Any
    ) -> None:
        super().__init__(description, metadata={**(metadata or {}), **({"cure": cure} if cure else {})}, **others)
        self.cure = cure


class Port(dg.ConfigurableResource, ABC):
    """A capability that keeps things under their digests."""

    @abstractmethod
    def find(self, digest: str) -> records.Record | None:
        """The record of what exists under the digest now; None when it is gone, or damaged."""

    def look_anew(self) -> None:
        """What `find` remembered of the world is forgotten: another process may have changed it since."""

    def why_gone(self, digest: str) -> str:
        """Why `find` found nothing."""
        del digest
        return "what was made is gone"


@dataclass(frozen=True)
class Finding:
    """What a check found in the live state."""

    passed: bool
    description: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    cure: str = ""  # the end of the description, where it is known apart


class CloudResources(Port):
    """The resources that one deployment makes in a cloud subscription, one asset each."""

    @abstractmethod
    def ensure(self, log: Log) -> Mapping[str, records.CloudResource]:
        """Every resource by its asset's name, deployed only when the template changed or the live state drifted."""

    @abstractmethod
    def planned(self) -> str:
        """What the cloud forecast before the last deployment of this process; a word when there was none."""

    @abstractmethod
    def examine(self, asset: str) -> Mapping[str, Finding]:
        """The verdict of every live check of an asset, by the check's name."""


class ComputeQuota(Port):
    """How much compute the cloud allows."""

    @abstractmethod
    def ensure(self, log: Log) -> records.Quota:
        """What is needed, allowed and used now; asks for more where the settings say so."""

    @abstractmethod
    def judge(self, quota: records.Quota) -> Mapping[str, Finding]:
        """The verdict of each check on it, by the check's name."""


class Provisioner(Port):
    """Makes sure of the place, the machine and the packages that the graph works with."""

    @abstractmethod
    def ensure_workspace(self) -> records.Workspace:
        """The place where runs and models are tracked, made when it is missing."""

    @abstractmethod
    def ensure_compute(self) -> records.Compute:
        """What training will run on."""

    @abstractmethod
    def ensure_environment(self) -> records.TrainingEnvironment:
        """The locked packages that training will run with."""

    def resource(self, record: records.Workspace | records.Compute) -> records.CloudResource | None:
        """What the cloud knows the workspace or the compute as, its price and its page; None on a laptop."""
        del record
        return None

    def examine_compute(self) -> Mapping[str, Finding]:
        """The verdict of each live check of the compute, by the check's name; none on a laptop."""
        return {}

    @abstractmethod
    def differing_packages(self) -> list[str]:
        """A line for each package of the environment that is not in its locked version."""


class DatasetStore(Port):
    """The conversations as they come, and the immutable versions published from them."""

    @abstractmethod
    def feeds(self, *, patient: bool = True) -> "list[Feed]":
        """Where conversations come from, in the order of reading.

        `patient`: what may still be on its way, such as a role, is waited for, as a run can and a sensor cannot.
        """

    @abstractmethod
    def source_fingerprint(self) -> str:
        """SHA-256 over the set of the raw conversations' contents. Raises when they cannot be read."""

    @abstractmethod
    def publish(self, log: Log) -> records.DatasetVersion:
        """Read, clean, split and publish; rows published before stay on their side. The same content is one version."""

    @abstractmethod
    def folder(self, version: records.DatasetVersion) -> Path:
        """A local folder with the version's files."""


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


class ChampionChanged(RuntimeError):
    """Another model became champion after the evaluation: evaluate against it first."""


class EndpointDown(RuntimeError):
    """What is recorded cannot be brought up."""


class EndpointHost(Port):
    """A stable address with a key, and named deployments that share its traffic."""

    @abstractmethod
    def ensure_endpoint(self, log: Log) -> records.Endpoint:
        """The endpoint, made or started when it is missing. Never deletes a live one."""

    @abstractmethod
    def deploy(self, model: records.RegisteredModel, log: Log) -> records.Deployment:
        """The model behind the endpoint with all traffic; on failure the old deployment keeps it, and this raises."""

    @abstractmethod
    def key(self) -> str:
        """The endpoint's key, for the Authorization header."""

    @property
    def cure(self) -> str:
        """What to do when the endpoint does not answer."""
        return "`phi run` makes it, or starts the servers again"

    @property
    def keeps_answers(self) -> bool:
        """Whether its servers keep what they answer in this home; else who asks has to."""
        return False

    @abstractmethod
    def start(self, log: Log) -> None:
        """Bring up what is recorded and not running; changes no record. Raises EndpointDown."""

    @abstractmethod
    def stop(self, log: Log) -> None:
        """End what runs; the record stays."""

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """Address, deployments, their traffic, and whether they answer."""


class ConnectionStore(Port):
    """Prompt flow connections."""

    @abstractmethod
    def connect(self, endpoint: records.Endpoint, key: str) -> records.Connection:
        """A connection to the endpoint with its present key; with none where it takes Entra tokens."""


class FlowStore(Port):
    """Packaged chat flows, and batch runs over them."""

    @abstractmethod
    def package(self, connection: records.Connection, log: Log) -> records.FlowPackage:
        """The chat flow as a folder that answered a question, and one with history, at the live endpoint."""

    @abstractmethod
    def evaluate(
        self, package: records.FlowPackage, deployment: records.Deployment, questions: Path | None, log: Log
    ) -> records.FlowEvaluation:
        """A batch run of the flow over the questions. A failed row is a result, not an end."""
