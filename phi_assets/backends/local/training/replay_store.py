"""Replay sets made on this machine: evaluation_code.replay as a child process."""

import shutil
from pathlib import Path
from typing import ClassVar

from phi_assets.backends import content_store, replay_sets
from phi_assets.backends.local.pipes_child import run_program
from phi_assets.ports.base import Decides, StepContext
from phi_assets.ports.training import ReplayStore
from phi_assets.records import BaseModel, Replay

CHILD = "phi_assets.backends.local.module_child"


class LocalReplayStore(ReplayStore):
    """Lets the base answer on this machine; stores sets under the home by digest."""

    decides: ClassVar = {
        "replay_conversations": Decides(
            modules=("replay_sets", "local.module_child", "local.pipes_child"),
            programs=("evaluation_code/replay.py", "evaluation_code/apart.py"),
        ),
    }
    state: str
    sources: dict[str, float]
    general_file: str | None

    def find(self, digest: str) -> Replay | None:
        return replay_sets.find(self._root, digest)

    def folder(self, replay: Replay) -> Path:
        return content_store.place(self._root, replay.digest)

    def make(self, context: StepContext, base: BaseModel) -> Replay:
        work = self._root / f"under-way-{context.run.run_id}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        if not self.sources:
            return replay_sets.keep_nothing(self._root, work, base)
        arguments = ["-m", CHILD, "evaluation_code.replay", f"--base={base.address}", f"--output_dir={work}"]
        if self.general_file:
            arguments.append(f"--general={self.general_file}")
        arguments += ["--sources", *(f"{file}={weight:g}" for file, weight in self.sources.items())]
        run_program(context, arguments)
        return replay_sets.keep(work, self._root, base)

    @property
    def _root(self) -> Path:
        return Path(self.state) / "replay"
