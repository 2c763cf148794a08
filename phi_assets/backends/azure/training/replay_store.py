"""Replay sets made on Azure ML: evaluation_code.replay as a command job; the sets are shared in blob storage."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from phi_assets import code_digest
from phi_assets.backends import content_store, replay_sets
from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, JobLimits
from phi_assets.backends.azure.jobs.spec import CloudJob, files_digest, recipe
from phi_assets.backends.azure.jobs.watch import link_metadata
from phi_assets.backends.azure.storage import data_assets
from phi_assets.backends.azure.storage.shared_folders import REPLAY, SharedFolders
from phi_assets.backends.azure.training.base_model_store import ASSET as BASE_MODEL
from phi_assets.ports.base import Decides, StepContext
from phi_assets.ports.training import ReplayStore
from phi_assets.project import PROJECT
from phi_assets.records import BaseModel, Replay

ROOT = "phi/replay_jobs/"  # the output of each job
GENERAL = "data/general_questions.jsonl"


class AzureReplayStore(ReplayStore):
    """Lets the base answer in a job; stores sets by digest in blob storage, with copies in the home."""

    decides: ClassVar = {
        "replay_conversations": Decides(
            modules=("replay_sets", "azure.jobs.spec"),
            programs=("evaluation_code/replay.py", "evaluation_code/apart.py"),
            settings=SUBSCRIPTION,
        ),
    }
    account: dict[str, str]
    state: str
    sources: dict[str, float]
    general_file: str | None
    vm_size: str
    max_job_cost: float
    queue_minutes: float
    role_minutes: float = 30.0
    poll_seconds: float = 5.0

    def find(self, digest: str) -> Replay | None:
        found = replay_sets.find(self._root, digest) or self._shared.find(digest)
        return self._here(found) if isinstance(found, Replay) else None

    def folder(self, replay: Replay) -> Path:
        return self._shared.fetch(self._here(replay), self._root)

    def make(self, context: StepContext, base: BaseModel) -> Replay:
        staged = self._root / f"under-way-{context.run.run_id}"
        shutil.rmtree(staged, ignore_errors=True)
        if self.sources:
            limits = JobLimits(
                self.vm_size, self.max_job_cost, self.queue_minutes, self.role_minutes, self.poll_seconds
            )
            jobs = CloudJobs(clients(self.account), limits, context.log.info, context)
            job = self._job(context, base)
            ended = jobs.run(job, lambda: jobs.blobs.size(job.output + replay_sets.REPORT) is not None)
            if ended.link:
                context.add_output_metadata(link_metadata(ended.link))
            jobs.blobs.download(job.output, staged)
            replay = replay_sets.keep(staged, self._root, base)
        else:
            replay = replay_sets.keep_nothing(self._root, staged, base)
        self._shared.put(replay, Path(replay.address))
        return replay

    def _here(self, replay: Replay) -> Replay:
        """The record with the address of this home's copy."""
        return replace(replay, address=str(content_store.place(self._root, replay.digest)))

    def _job(self, context: StepContext, base: BaseModel) -> CloudJob:
        code = {name: PROJECT / name for name in ("evaluation_code", "serving_code")}
        files = {f"data/source_{number}.jsonl": Path(file) for number, file in enumerate(self.sources)}
        words = [
            "python -m evaluation_code.replay",
            "--base=${{inputs.base}}",
            "--output_dir=${{outputs.result}}",
            *([f"--general={GENERAL}"] if self.general_file else []),
            "--sources",
            *(f"{name}={weight:g}" for name, weight in zip(files, self.sources.values(), strict=True)),
        ]
        if self.general_file:
            files[GENERAL] = Path(self.general_file)
        made_of = recipe(
            base.digest,
            *(code_digest.of_trees([tree]) for tree in code.values()),
            files_digest(path.read_bytes() for path in files.values()),
            " ".join(words),
        )
        return CloudJob(
            kind="replay",
            recipe=made_of,
            title=f"answers of {base.digest[:12]} for replay",
            command=" ".join(words),
            code={**code, **files},
            inputs={"base": data_assets.reference(BASE_MODEL, base.digest)},
            output=f"{ROOT}{made_of[:32]}/",
            output_mode="upload",
            tags={"base_model": base.digest, "dagster_run": context.run.run_id},
        )

    @property
    def _root(self) -> Path:
        return Path(self.state) / "replay"

    @property
    def _shared(self) -> SharedFolders:
        return SharedFolders(clients(self.account), REPLAY, self.role_minutes)
