"""Trains on Azure ML: runs training_code as a command job, with the weights in blob storage and the report local."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg

from phi_assets import code_digest
from phi_assets.backends import content_store, replay_sets
from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.dataset.store import ASSET as DATASET
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, JobLimits
from phi_assets.backends.azure.jobs.spec import CloudJob
from phi_assets.backends.azure.jobs.spec import recipe as job_recipe
from phi_assets.backends.azure.jobs.watch import Ended, link_metadata
from phi_assets.backends.azure.storage import blob, data_assets
from phi_assets.backends.azure.storage.shared_folders import MODELS, REPLAY, SharedFolders
from phi_assets.backends.azure.training.base_model_store import ASSET as BASE_MODEL
from phi_assets.models.recipes import Recipe
from phi_assets.ports.base import Decides, Log, StepContext
from phi_assets.ports.training import PAIRS, Trainer
from phi_assets.project import PROJECT
from phi_assets.records import BaseModel, DatasetVersion, ModelVersion, Replay

ROOT = "phi/training/"
WEIGHTS = "model/model.safetensors"
SHOWN = ("report.json", "loss_curve.png", "mask.png", "mask.html")
PREFERENCE_CURVE = "preference_curve.png"
JOB = "job.json"
OWN_PRESET = "preset.yaml"


class AzureTrainer(Trainer):
    """Fine-tunes in a job of the workspace. Weights are never downloaded: the job computes their digest."""

    decides: ClassVar = {
        "fine_tuned_model": Decides(
            modules=("azure.jobs.spec",),
            programs=("training_code", "training_code/environment/Dockerfile"),
            settings=SUBSCRIPTION,
        ),
    }
    account: dict[str, str]
    state: str
    preset: str
    max_minutes: float
    vm_size: str
    max_job_cost: float
    queue_minutes: float
    role_minutes: float = 30.0
    poll_seconds: float = 5.0
    save_seconds: float = 300.0

    def find(self, digest: str) -> ModelVersion | None:
        found = content_store.find(self._models, digest, lambda folder: (folder / "report.json").is_file())
        if not isinstance(found, ModelVersion):
            found = self._shared.find(digest)
            return found if isinstance(found, ModelVersion) else None
        place = blob.path_of(found.address).removesuffix("model")
        try:
            return found if self._weights_are_complete(place, _report(self.folder(found))) else None
        except NotDeployed:  # after a teardown
            return None

    def remembered(self, digest: str) -> ModelVersion | None:
        found = content_store.remembered(self._models, digest) or self._shared.remembered(digest)
        return found if isinstance(found, ModelVersion) else None

    def folder(self, model: ModelVersion) -> Path:
        return self._shared.fetch(model, self._models)

    def page(self, model: ModelVersion) -> str:
        job = self.folder(model) / JOB
        return json.loads(job.read_text(encoding="utf-8"))["studio"] or "" if job.is_file() else ""

    def train(
        self,
        context: StepContext,
        dataset: DatasetVersion,
        base: BaseModel,
        replay: Replay,
        recipe: Recipe | None = None,
    ) -> ModelVersion:
        chosen = recipe or Recipe(self.preset)
        code = program_digest()
        replayed = replay if replay.conversations and chosen.replays else None
        made_of = job_recipe(dataset.digest, base.digest, code, chosen.digest, *([replayed.digest] if replayed else []))
        place = f"{ROOT}{made_of[:32]}/"
        jobs = CloudJobs(self._clients, self._limits, context.log.info, context)
        job = self._job(context, dataset, base, replayed, code, chosen, made_of, place, jobs.seconds)
        ended = jobs.run(
            job,
            lambda: self._is_complete(jobs.blobs, place),
            lambda: require_machine(self.vm_size, chosen, base.parameters, context.log.warning),
        )
        if ended.link:
            context.add_output_metadata(link_metadata(ended.link))
        return self._keep(jobs.blobs, context, dataset, base, replayed, code, chosen, place, ended)

    def _keep(
        self,
        blobs: blob.WorkspaceBlobs,
        context: StepContext,
        dataset: DatasetVersion,
        base: BaseModel,
        replay: Replay | None,
        code: str,
        recipe: Recipe,
        place: str,
        ended: Ended,
    ) -> ModelVersion:
        """Store the job's report and pictures locally, and return the record of its model."""
        staged = self._models / f"under-way-{context.run.run_id}"
        shutil.rmtree(staged, ignore_errors=True)
        blobs.download(place, staged, SHOWN)
        job = {"name": ended.name, "studio": ended.link, "submitted": ended.submitted}
        (staged / JOB).write_text(json.dumps(job), encoding="utf-8")
        report = _report(staged)
        if PREFERENCE_CURVE in report["files"]:
            blobs.download(place, staged, (PREFERENCE_CURVE,))
        digest = hashlib.sha256(f"{report['files'][WEIGHTS]['sha256']}\n{code}".encode()).hexdigest()
        known = self.find(digest)
        if known:  # an adopted job, or another recipe with the same result
            shutil.rmtree(staged)
            return known
        folder = content_store.accept(staged, self._models, digest)
        has_adapter = any(name.startswith("adapter/") for name in report["files"])
        model = ModelVersion(
            digest=digest,
            address=blob.address(f"{place}model"),
            adapter_address=blob.address(f"{place}adapter") if has_adapter else None,
            report_address=blob.address(f"{place}report.json"),
            dataset_digest=dataset.digest,
            base_digest=base.digest,
            code_version=code[:16],
            preset=recipe.label,
            training_run=context.run.run_id,
            replay_digest=replay.digest if replay else "",
            steps=report["plan"]["steps"],
            tokens_per_step=report["plan"]["tokens_per_step"],
        )
        content_store.put(model, folder)
        self._shared.put(model, folder, {place + WEIGHTS: report["files"][WEIGHTS]["bytes"]})
        return model

    def _job(
        self,
        context: StepContext,
        dataset: DatasetVersion,
        base: BaseModel,
        replay: Replay | None,
        code: str,
        recipe: Recipe,
        made_of: str,
        place: str,
        seconds: int,
    ) -> CloudJob:
        own = recipe.file
        words = (
            "python training_code/cloud.py --store=${{outputs.result}}",
            f"--config={OWN_PRESET if own else recipe.preset}",
            *recipe.limits,
            *recipe.arguments,
            "--base_model=${{inputs.base_model}}",
            "--train_file=${{inputs.dataset}}/train.jsonl",
            "--validation_file=${{inputs.dataset}}/validation.jsonl",
            *([f"--replay_file=${{{{inputs.replay}}}}/{replay_sets.ROWS}"] if replay else []),
            *([f"--preference_file=${{{{inputs.dataset}}}}/{PAIRS}"] if dataset.pairs and recipe.prefers else []),
            f"--max_train_minutes={min(self.max_minutes, seconds / 60):g}",
            f"--save_seconds={self.save_seconds:g}",
        )
        return CloudJob(
            kind="train",
            recipe=made_of,
            title=f"fine-tune {recipe.label} on {dataset.digest[:12]}",
            command=" ".join(words),
            code={"training_code": PROJECT / "training_code", **({OWN_PRESET: own} if own else {})},
            inputs={
                "dataset": data_assets.reference(DATASET, dataset.digest),
                "base_model": data_assets.reference(BASE_MODEL, base.digest),
                **({"replay": blob.address(self._replay_folders.place(replay.digest))} if replay else {}),
            },
            output=place,
            output_mode="rw_mount",
            tags={
                "dataset": dataset.digest,
                "base_model": base.digest,
                "code": code[:16],
                "preset": recipe.label,
                "dagster_run": context.run.run_id,
                **({"candidate": recipe.candidate} if recipe.candidate else {}),
            },
            pipes=True,
        )

    def _is_complete(self, blobs: blob.WorkspaceBlobs, place: str) -> bool:
        content = blobs.read(f"{place}report.json")
        return bool(content) and self._weights_are_complete(place, json.loads(content), blobs)

    def _weights_are_complete(
        self, place: str, report: dict[str, Any], blobs: blob.WorkspaceBlobs | None = None
    ) -> bool:
        container = blobs or blob.WorkspaceBlobs(self._clients, log_to_run, self.role_minutes)
        return container.size(place + WEIGHTS) == report["files"][WEIGHTS]["bytes"]

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)

    @property
    def _limits(self) -> JobLimits:
        return JobLimits(self.vm_size, self.max_job_cost, self.queue_minutes, self.role_minutes, self.poll_seconds)

    @property
    def _models(self) -> Path:
        return Path(self.state) / "models"

    @property
    def _replay_folders(self) -> SharedFolders:
        return SharedFolders(self._clients, REPLAY, self.role_minutes)

    @property
    def _shared(self) -> SharedFolders:
        return SharedFolders(self._clients, MODELS, self.role_minutes)


@cache
def program_digest() -> str:
    """SHA-256 over the logic of the training code and its Dockerfile. Releases of libraries do not count."""
    return code_digest.of_trees([PROJECT / "training_code", PROJECT / "training_code" / "environment" / "Dockerfile"])


def require_machine(vm_size: str, recipe: Recipe, parameters: int, warn: Log) -> None:
    """Warn when a size has GPUs that training does not use. Raises Failure for what it cannot train: no job starts.

    Each of several GPUs holds the whole model.
    """
    from training_code.memory import held_bytes

    if not prices.is_known(vm_size):
        return
    size, settings = prices.machine(vm_size), recipe.built()
    if settings.method == "qlora" and not size.gpus:
        raise dg.Failure(
            f"{recipe.label}: method qlora needs a GPU and {vm_size} has none: use lora", allow_retries=False
        )
    needed = held_bytes(settings, parameters, 0 if settings.frozen or settings.method != "full" else parameters)
    if needed > size.training_bytes:
        raise dg.Failure(
            f"{recipe.label} needs at least {needed / 1e9:.0f} GB of memory for weights, gradients and optimizer, and "
            f"{vm_size} ({size.device}) has {size.training_bytes / 1e9:.0f} GB for one training: set PHI_PRESET to one "
            "with an adapter, or another PHI_AZURE_VM_SIZE; no job was started",
            allow_retries=False,
        )
    used = settings.processes or (1 if settings.preference != "none" else size.gpus)
    if used > max(size.gpus, 1):
        raise dg.Failure(
            f"{recipe.label}: processes = {used} need a GPU each, and {vm_size} ({size.device}) has {size.gpus}: set "
            "processes to none; no job was started",
            allow_retries=False,
        )
    if size.gpus > used:
        warn(f"{vm_size} has {size.gpus} GPUs and this training uses {used} of them: a smaller size costs less")
    elif used > settings.batch_size * settings.accumulation:
        warn(f"{recipe.label}: a step has {settings.batch_size * settings.accumulation} rows for {used} GPUs")


def _report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))
