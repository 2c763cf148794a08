"""Evaluates on Azure ML: runs evaluation_code as a command job on models in blob storage; its reports are shared."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from phi_assets import code_digest
from phi_assets.backends import content_store, evaluation_reports
from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.dataset.store import ASSET as DATASET
from phi_assets.backends.azure.dataset.store import folder_of as dataset_folder
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, JobLimits
from phi_assets.backends.azure.jobs.spec import CloudJob, files_digest, recipe
from phi_assets.backends.azure.jobs.watch import link_metadata
from phi_assets.backends.azure.storage import blob, data_assets
from phi_assets.backends.azure.storage.shared_folders import REPORTS, SharedFolders
from phi_assets.backends.azure.training.base_model_store import ASSET as BASE_MODEL
from phi_assets.ports.base import Decides, StepContext
from phi_assets.ports.evaluation import Contest, Evaluator
from phi_assets.project import PROJECT
from phi_assets.records import Evaluation

ROOT = "phi/evaluations/"  # the output of each job
QUESTIONS, GENERAL = "data/questions.jsonl", "data/general_questions.jsonl"


class AzureEvaluator(Evaluator):
    """Scores models in a job of the workspace; stores reports by digest in blob storage, with copies in the home."""

    decides: ClassVar = {
        "model_evaluation": Decides(
            modules=("evaluation_reports", "azure.jobs.spec"),
            programs=("evaluation_code", "serving_code"),
            settings=SUBSCRIPTION,
        ),
    }
    account: dict[str, str]
    state: str
    questions_file: str | None
    general_file: str | None
    vm_size: str
    max_job_cost: float
    queue_minutes: float
    role_minutes: float = 30.0
    poll_seconds: float = 5.0

    def find(self, digest: str) -> Evaluation | None:
        found = evaluation_reports.find(self._root, digest) or self._shared.find(digest)
        return self._here(found) if isinstance(found, Evaluation) else None

    def folder(self, evaluation: Evaluation) -> Path:
        return self._shared.fetch(self._here(evaluation), self._root)

    def report(self, evaluation: Evaluation) -> dict[str, Any]:
        return evaluation_reports.read(self.folder(evaluation))

    def evaluate(self, context: StepContext, contest: Contest) -> Evaluation:
        jobs = CloudJobs(clients(self.account), self._limits, context.log.info, context)
        job = self._job(context, contest)
        ended = jobs.run(job, lambda: jobs.blobs.size(job.output + evaluation_reports.REPORT) is not None)
        if ended.link:
            context.add_output_metadata(link_metadata(ended.link))
        staged = self._root / f"under-way-{context.run.run_id}"
        shutil.rmtree(staged, ignore_errors=True)
        jobs.blobs.download(job.output, staged)
        evaluation = evaluation_reports.keep(staged, self._root, contest)
        self._shared.put(evaluation, Path(evaluation.address))
        return evaluation

    def _here(self, evaluation: Evaluation) -> Evaluation:
        """The record with the address of this home's copy."""
        return replace(evaluation, address=str(content_store.place(self._root, evaluation.digest)))

    def _job(self, context: StepContext, contest: Contest) -> CloudJob:
        code = {name: PROJECT / name for name in ("evaluation_code", "serving_code")}
        made_of = recipe(
            contest.base.digest,
            contest.tuned.digest,
            contest.dataset.digest,
            contest.champion.model_digest if contest.champion else "",
            contest.champion.dataset_digest if contest.champion else "",
            *(code_digest.of_trees([tree]) for tree in code.values()),
            files_digest(path.read_bytes() for path in self._files.values()),
        )
        inputs = {
            "base": data_assets.reference(BASE_MODEL, contest.base.digest),
            "tuned": contest.tuned.address,
            "dataset": data_assets.reference(DATASET, contest.dataset.digest),
        }
        words = [
            "python -m evaluation_code",
            "--base=${{inputs.base}}",
            "--tuned=${{inputs.tuned}}",
            "--test_file=${{inputs.dataset}}/test.jsonl",
            "--output_dir=${{outputs.result}}",
        ]
        words += [f"--{'general' if name == GENERAL else 'questions'}={name}" for name in self._files]
        champion = contest.champion
        if champion and champion.model_digest != contest.tuned.digest:
            inputs["champion"] = champion.address
            inputs["champion_dataset"] = blob.address(dataset_folder(champion.dataset_digest))
            words += [
                "--champion=${{inputs.champion}}",
                "--champion_train_file=${{inputs.champion_dataset}}/train.jsonl",
                "--champion_test_file=${{inputs.champion_dataset}}/test.jsonl",
            ]
        return CloudJob(
            kind="evaluate",
            recipe=made_of,
            title=f"evaluate {contest.tuned.digest[:12]}",
            command=" ".join(words),
            code={**code, **self._files},
            inputs=inputs,
            output=f"{ROOT}{made_of[:32]}/",
            output_mode="upload",
            tags={
                "model": contest.tuned.digest,
                "preset": contest.tuned.preset,
                "base_model": contest.base.digest,
                "dataset": contest.dataset.digest,
                "champion": champion.version if champion else "none",
                "dagster_run": context.run.run_id,
            },
        )

    @property
    def _files(self) -> dict[str, Path]:
        """The files of questions, by their place in the job's code."""
        given = {GENERAL: self.general_file, QUESTIONS: self.questions_file}
        return {name: Path(file) for name, file in given.items() if file}

    @property
    def _limits(self) -> JobLimits:
        return JobLimits(self.vm_size, self.max_job_cost, self.queue_minutes, self.role_minutes, self.poll_seconds)

    @property
    def _root(self) -> Path:
        return Path(self.state) / "evaluations"

    @property
    def _shared(self) -> SharedFolders:
        return SharedFolders(clients(self.account), REPORTS, self.role_minutes)
