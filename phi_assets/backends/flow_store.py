"""Stores packaged chat flows and their batch runs as folders under the home."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from phi_assets.backends import content_store
from phi_assets.backends.disk_space import require_space
from phi_assets.errors import BackendError
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.chat import FlowStore
from phi_assets.project import PACKAGE, PROJECT
from phi_assets.prompt_flow.package import TURN
from phi_assets.records import Connection, Deployment, FlowEvaluation, FlowPackage, Record

SOURCE = PROJECT / "flows" / "chat"
ROWS = "rows.jsonl"
ASKING_SECONDS = 1800.0
FLOW_BYTES = 5_000_000  # a package is about 0.2 MB, a batch run of Prompt flow a few
CHILDREN = "phi_assets/prompt_flow"
LOCK = "requirements/lock-promptflow.txt"


class PromptFlowStore(FlowStore):
    """Runs Prompt flow in child processes with its state in this home only, on a laptop and on Azure."""

    decides: ClassVar = {
        "chat_flow": Decides(
            programs=("flows/chat", LOCK, *TURN, *(f"{CHILDREN}/{name}.py" for name in ("trial", "trial_child")))
        ),
        "chat_flow_evaluation": Decides(
            programs=(
                "flows",
                "evaluation_code",
                *(f"{CHILDREN}/{name}.py" for name in ("flow_evaluation", "batch_run", "batch_child")),
            )
        ),
    }
    state: str
    concurrency: int
    sign_in: str = ""  # file added to a package that gets the backend's tokens; empty when the endpoint takes a key
    signs_in: bool = False  # the flow's processes may sign in to the backend: its endpoint takes a token

    def decided_by(self, asset: str) -> Decides | None:
        found = super().decided_by(asset)
        if found is None or not self.sign_in:
            return found
        return replace(found, programs=(*found.programs, Path(self.sign_in).relative_to(PACKAGE.parent).as_posix()))

    def find(self, digest: str) -> Record | None:
        from phi_assets.prompt_flow.package import is_intact

        package = self.packages / digest
        if is_intact(package):
            return FlowPackage(digest=digest, address=str(package))
        return content_store.find(self.evaluations, digest, lambda folder: (folder / ROWS).is_file())

    def package(self, connection: Connection, log: Log) -> FlowPackage:
        from phi_assets.prompt_flow.environment import prompt_flow_environment
        from phi_assets.prompt_flow.package import package_flow
        from phi_assets.prompt_flow.trial import prove_flow

        require_space(self.packages, FLOW_BYTES, "the chat flow's package")
        environment = prompt_flow_environment(Path(self.state), log, signs_in=self.signs_in)
        folder, digest = package_flow(
            SOURCE,
            self.packages,
            connection=connection.name,
            beside=[Path(self.sign_in)] if self.sign_in else [],
            accept=lambda draft: prove_flow(draft, environment, log),
        )
        return FlowPackage(digest=digest, address=str(folder))

    def evaluate(
        self, package: FlowPackage, deployment: Deployment, questions: Path | None, log: Log
    ) -> FlowEvaluation:
        subject = f"{package.digest}\n{deployment.digest}\n"
        require_space(self.evaluations, FLOW_BYTES, "the chat flow's evaluation")
        work = self.evaluations / f"under-way-{package.digest[:12]}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        share, count = self._ask(package, questions, work, log) if questions else (None, 0)
        if not questions:
            (work / ROWS).touch()
        digest = hashlib.sha256(subject.encode() + (work / ROWS).read_bytes()).hexdigest()
        folder = content_store.accept(work, self.evaluations, digest)
        evaluation = FlowEvaluation(digest=digest, address=str(folder), questions=count, share_right=share)
        content_store.put(evaluation, folder)
        return evaluation

    def ask(
        self, package: FlowPackage, conversations: Sequence[Sequence[dict[str, Any]]], max_tokens: int, log: Log
    ) -> list[str]:
        from phi_assets.prompt_flow.child_process import PromptFlowFailed
        from phi_assets.prompt_flow.environment import prompt_flow_environment
        from phi_assets.prompt_flow.trial import flow_outputs

        inputs = [
            {
                "question": last["content"],
                "chat_history": [{"role": turn["role"], "content": turn["content"]} for turn in before],
                "max_tokens": max_tokens,
                "temperature": 0.0,
            }
            for *before, last in conversations
        ]
        try:
            environment = prompt_flow_environment(Path(self.state), log, signs_in=self.signs_in)
            outputs = flow_outputs(Path(package.address), environment, inputs, ASKING_SECONDS)
        except PromptFlowFailed as e:
            raise BackendError(str(e)) from e
        return [str(output.get("answer")) for output in outputs]

    def _ask(self, package: FlowPackage, questions: Path, work: Path, log: Log) -> tuple[float | None, int]:
        from phi_assets.prompt_flow.environment import prompt_flow_environment
        from phi_assets.prompt_flow.flow_evaluation import run_flow_evaluation

        environment = prompt_flow_environment(Path(self.state), log, signs_in=self.signs_in)
        result = run_flow_evaluation(Path(package.address), questions, work, environment, log, workers=self.concurrency)
        return result.share_right, len(result.rows)

    @property
    def packages(self) -> Path:
        """The folder of the packages, by digest."""
        return Path(self.state) / "flows"

    @property
    def evaluations(self) -> Path:
        """The folder of the batch runs, by the start of the digest."""
        return Path(self.state) / "flow_evaluations"
