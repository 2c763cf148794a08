"""A deployed place with a tiny model, a few conversations and a preset that trains in seconds: a job's inputs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.dataset.store import AzureDatasetStore
from phi_assets.backends.azure.evaluation.evaluator import AzureEvaluator
from phi_assets.backends.azure.evaluation.registry import AzureModelRegistry
from phi_assets.backends.azure.infrastructure import compute, training_environment
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, JobLimits
from phi_assets.backends.azure.jobs.spec import CloudJob, recipe
from phi_assets.backends.azure.storage import blob_lease
from phi_assets.backends.azure.training.base_model_store import AzureBaseModelStore
from phi_assets.backends.azure.training.trainer import AzureTrainer
from phi_assets.ports.evaluation import Contest
from phi_assets.records import BaseModel, DatasetVersion, Evaluation, ModelVersion
from tests.support.azure_place import Place
from tests.support.fake_records import NO_REPLAY
from tests.support.tiny_models import make_tiny_phi3

MARKS = [
    pytest.mark.azure,
    pytest.mark.integration,
    # Dagster's own Pipes reads its own deprecated property.
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"),
    # azure-ai-ml with today's marshmallow.
    pytest.mark.filterwarnings("ignore::marshmallow.warnings.RemovedInMarshmallow4Warning"),
]
PROJECT = Path(__file__).resolve().parents[2]
PRESET = """
method: lora
lora_rank: 4
max_length: 512
packing: true
packed_length: 256
epochs: {epochs}
learning_rate: 1.0e-3
precision: fp32
merge_check_prompts: 2
threads: 1
tune_malloc: false
early_stopping_patience: 0
preference: {preference}
preference_learning_rate: 1.0e-3
preference_epochs: 1
"""
CLEANING = {
    "columns": {},
    "validation_share": 0.2,
    "test_share": 0.2,
    "near_duplicate_threshold": 0.95,
    "personal_data": "keep",
    "max_characters": 32_000,
}


@dataclass
class Work:
    """The ports that run jobs in one deployed place; `recipe` distinguishes trainings.

    `command` is the command of a job that does not train, for tests that are not about training.
    """

    place: Place
    recipe: int = 0
    epochs: int = 1
    source: str = "raw.jsonl"
    preference: str = "none"
    command: str = "sleep 600"
    role_minutes: float = 0.5
    limits: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.place.home

    @property
    def control(self) -> Control:
        return self.place.control

    @cached_property
    def dataset_store(self) -> AzureDatasetStore:
        return AzureDatasetStore(**self._common, source=str(self.state / self.source), cleaning=CLEANING)

    @cached_property
    def base_model_store(self) -> AzureBaseModelStore:
        return AzureBaseModelStore(**self._common, base_model=str(self.state / "tiny"))

    @property
    def trainer(self) -> AzureTrainer:
        preset = self.state / f"{self._preset}.yaml"
        preset.write_text(PRESET.format(epochs=self.epochs, preference=self.preference) + f"seed: {self.recipe}\n")
        return AzureTrainer(**self._common, **self._limits, preset=str(preset), max_minutes=30, save_seconds=0.5)

    @property
    def evaluator(self) -> AzureEvaluator:
        return AzureEvaluator(**self._common, **self._limits, questions_file=None, general_file=None)

    @property
    def registry(self) -> AzureModelRegistry:
        return AzureModelRegistry(account=self._common["account"])

    @cached_property
    def dataset(self) -> DatasetVersion:
        return self.dataset_store.publish(self.place.log)

    @cached_property
    def base(self) -> BaseModel:
        return self.base_model_store.resolve(self.place.log)

    def train(self, instance: dg.DagsterInstance | None = None) -> "Outcome":
        """Run a training in Dagster; return its outcome."""
        made: list[ModelVersion] = []

        @dg.asset
        def model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            made.append(self.trainer.train(context, self.dataset, self.base, NO_REPLAY))
            return dg.MaterializeResult()

        return _outcome(model, made, instance)

    def run_command(self, instance: dg.DagsterInstance | None = None) -> "Outcome":
        """Run a job that only executes the command, in Dagster; return its outcome."""

        @dg.asset
        def commanded(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            made_of = recipe("a command", str(self.recipe))
            file = self.state / "command.txt"  # Azure refuses a job without code
            file.write_text(made_of, encoding="utf-8")
            tags = {"preset": self._preset}
            place = f"phi/commands/{made_of}/"
            job = CloudJob(
                "train", made_of, "a command", self.command, {file.name: file}, {}, place, "upload", tags, pipes=True
            )
            limits = JobLimits(**self._limits, role_minutes=self.role_minutes)
            CloudJobs(self.place.clients, limits, context.log.info, context).run(job, lambda: True)
            return dg.MaterializeResult()

        return _outcome(commanded, [], instance)

    def evaluate(self, tuned: ModelVersion) -> "Outcome":
        """Run an evaluation against the current champion in Dagster; return its outcome."""
        made: list[Evaluation] = []

        @dg.asset
        def evaluation(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            contest = Contest(self.base, tuned, self.dataset, self.registry.champion())
            made.append(self.evaluator.evaluate(context, contest))
            return dg.MaterializeResult()

        return _outcome(evaluation, made)

    def job_name(self, attempt: int = 1) -> str:
        """Return the name of this recipe's submitted job. Raises LookupError."""
        recipes = {str(j["name"]) for j in self.control.resources("Microsoft.MachineLearningServices/workspaces/jobs")}
        for job in self.control.resources("Microsoft.MachineLearningServices/workspaces/jobs"):
            if job["properties"]["tags"].get("preset") == self._preset and str(job["name"]).endswith(f"-{attempt}"):
                return str(job["name"])
        raise LookupError(f"no attempt {attempt} of {self._preset} among {recipes}")

    def executed(self) -> list[str]:
        """Return the names of this recipe's executed jobs, in order."""
        ours = {
            str(job["name"])
            for job in self.control.resources("Microsoft.MachineLearningServices/workspaces/jobs")
            if job["properties"]["tags"].get("preset") == self._preset
        }
        return [name for name in self.control.executed_jobs() if name in ours]

    def resumed_from(self, model: ModelVersion) -> int | None:
        report = self.trainer.folder(model) / "report.json"
        return json.loads(report.read_text(encoding="utf-8"))["resumed_from"]

    @contextmanager
    def step_process(self, seconds: int | None = None) -> "Iterator[subprocess.Popen[str]]":
        """A process with a Dagster run whose job executes the command; it is killed at the end of the block.

        `seconds`: the run time that the cost ceiling allows.
        """
        given = json.dumps(
            {
                "home": str(self.state),
                "name": self.place.name,
                "recipe": self.recipe,
                "command": self.command,
                "seconds": seconds,
                "lease_seconds": blob_lease.SECONDS,
            }
        )
        arguments = [given, str(self.control.state)]
        command = [sys.executable, "-m", "tests.support.job_step", *arguments]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def _preset(self) -> str:
        return f"preset-{self.recipe}-{self.epochs}"

    @property
    def _common(self) -> dict[str, Any]:
        return {
            "account": self.place.clients.account.fields,
            "state": str(self.state),
            "role_minutes": self.role_minutes,
        }

    @property
    def _limits(self) -> dict[str, Any]:
        usual = {"vm_size": "Standard_NC24ads_A100_v4", "max_job_cost": 20.0, "queue_minutes": 5.0, "poll_seconds": 0.3}
        return {**usual, **self.limits}


@dataclass
class Outcome:
    """How a run ended: what its port returned, the failure, and the lines and metadata of its log."""

    success: bool
    made: Any
    failure: str
    lines: list[str]
    metadata: dict[str, Any]
    materialised: bool


def _outcome(asset: dg.AssetsDefinition, made: list[Any], instance: dg.DagsterInstance | None = None) -> Outcome:
    with instance or dg.DagsterInstance.ephemeral() as used:
        result = dg.materialize([asset], instance=used, raise_on_error=False)
        step = asset.op.name
        failure = "" if result.success else result.failure_data_for_node(step)
        data = getattr(failure, "user_failure_data", None)
        error = getattr(failure, "error", None)
        words = (data.description if data else None) or (error.to_string() if error else "")
        events = result.asset_materializations_for_node(step) if result.success else []
        return Outcome(
            success=result.success,
            made=made[-1] if made else None,
            failure=words or "",
            lines=[entry.user_message for entry in used.all_logs(result.run_id)],
            metadata=dict(events[0].metadata) if events else dict(data.metadata) if data else {},
            materialised=used.get_latest_materialization_event(asset.key) is not None,
        )


def prepared(place: Place) -> Work:
    """Return Work in a deployed place with cluster and environment; the inputs are still on this machine."""
    from tests.unit.training_code.conftest import conversations

    credential.forget()
    place.deploy()
    compute.ensure(place.clients, compute.Cluster("Standard_NC24ads_A100_v4", 1, 5), place.log)
    training_environment.ensure(place.clients, 0.5, place.log)
    make_tiny_phi3(place.home / "tiny")
    rows = [json.dumps({"messages": row}) + "\n" for row in conversations(60, seed=1)]
    (place.home / "raw.jsonl").write_text("".join(rows), encoding="utf-8")
    return Work(place)


def published(place: Place) -> Work:
    """Return `prepared` Work whose dataset and base model are in the workspace."""
    made = prepared(place)
    made.base, made.dataset  # noqa: B018
    return made


def another_recipe(whole: Work, recipe: int) -> Work:
    """Return Work with the same place, dataset and base model, and another recipe."""
    mine = replace(whole, recipe=recipe, limits={})
    mine.__dict__.update(dataset=whole.dataset, base=whole.base)
    return mine


def names_of_jobs(work: Work) -> list[str]:
    jobs = work.control.resources("Microsoft.MachineLearningServices/workspaces/jobs")
    return [str(job["name"]) for job in jobs]


def until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Poll `true` and return its first true value. Raises AssertionError on timeout."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"the condition was not met within {seconds:g} s")
