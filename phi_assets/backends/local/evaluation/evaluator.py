"""Evaluation on this machine: evaluation_code as a child process."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

from phi_assets.backends import content_store, evaluation_reports
from phi_assets.backends.disk_space import require_space
from phi_assets.backends.local.pipes_child import run_program
from phi_assets.ports.base import Decides, StepContext
from phi_assets.ports.evaluation import Contest, Evaluator
from phi_assets.records import Evaluation

EVALUATION_BYTES = 20_000_000  # answers of 20,000 rows; usually 0.2 MB
CHILD = "phi_assets.backends.local.module_child"


class LocalEvaluator(Evaluator):
    """Scores models with the engine that serves them; stores reports under the home by digest."""

    decides: ClassVar = {
        "model_evaluation": Decides(
            modules=("evaluation_reports", "local.module_child", "local.pipes_child"),
            programs=("evaluation_code", "serving_code"),
        ),
    }
    state: str
    questions_file: str | None
    general_file: str | None

    def find(self, digest: str) -> Evaluation | None:
        return evaluation_reports.find(self._root, digest)

    def folder(self, evaluation: Evaluation) -> Path:
        return content_store.place(self._root, evaluation.digest)

    def report(self, evaluation: Evaluation) -> dict[str, Any]:
        return evaluation_reports.read(self.folder(evaluation))

    def evaluate(self, context: StepContext, contest: Contest) -> Evaluation:
        require_space(self._root, EVALUATION_BYTES, "this evaluation")
        work = self._root / f"under-way-{context.run.run_id}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        run_program(context, self._arguments(contest, work))
        return evaluation_reports.keep(work, self._root, contest)

    def _arguments(self, contest: Contest, work: Path) -> list[str]:
        arguments = [
            "-m",
            CHILD,
            "evaluation_code",
            f"--base={contest.base.address}",
            f"--tuned={contest.tuned.address}",
            f"--test_file={Path(contest.dataset.address, 'test.jsonl')}",
            f"--output_dir={work}",
        ]
        if self.general_file:
            arguments.append(f"--general={self.general_file}")
        if self.questions_file:
            arguments.append(f"--questions={self.questions_file}")
        return arguments + self._champion_arguments(contest)

    def _champion_arguments(self, contest: Contest) -> list[str]:
        champion = contest.champion
        if champion is None or champion.model_digest == contest.tuned.digest:
            return []
        dataset = Path(self.state, "datasets", champion.dataset_digest)
        return [
            f"--champion={champion.address}",
            f"--champion_train_file={dataset / 'train.jsonl'}",
            f"--champion_test_file={dataset / 'test.jsonl'}",
        ]

    @property
    def _root(self) -> Path:
        return Path(self.state) / "evaluations"
