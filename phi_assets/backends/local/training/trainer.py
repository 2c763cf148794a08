"""Training on this machine: training_code/fine_tune.py as a child process."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from phi_assets import code_digest
from phi_assets.backends import content_store, replay_sets
from phi_assets.backends.disk_space import in_gb, require_space
from phi_assets.backends.home_storage import size_of
from phi_assets.backends.local.pipes_child import run_program
from phi_assets.backends.local.training import experiment, tracking
from phi_assets.backends.local.training.disk_need import bytes_of_training
from phi_assets.files import atomic_write, file_sha256
from phi_assets.graph.run_tags import CANDIDATE
from phi_assets.models.recipes import Recipe
from phi_assets.ports.base import Decides, StepContext
from phi_assets.ports.training import PAIRS, Trainer
from phi_assets.project import PROJECT
from phi_assets.records import BaseModel, DatasetVersion, ModelVersion, Replay

PROGRAM = "training_code/fine_tune.py"
WEIGHTS = Path("model", "model.safetensors")


class LocalTrainer(Trainer):
    """Fine-tunes on this machine's CPU; stores models under the home by digest."""

    decides: ClassVar = {
        "fine_tuned_model": Decides(modules=("local.pipes_child",), programs=("training_code",)),
    }
    state: str
    preset: str
    max_minutes: float
    mlflow: str = ""  # the folder of its database; without one there are no live curves

    def find(self, digest: str) -> ModelVersion | None:
        found = content_store.find(self._models, digest, lambda folder: (folder / WEIGHTS).is_file())
        return found if isinstance(found, ModelVersion) else None

    def remembered(self, digest: str) -> ModelVersion | None:
        found = content_store.remembered(self._models, digest)
        return found if isinstance(found, ModelVersion) else None

    def folder(self, model: ModelVersion) -> Path:
        return content_store.place(self._models, model.digest)

    def train(
        self,
        context: StepContext,
        dataset: DatasetVersion,
        base: BaseModel,
        replay: Replay,
        recipe: Recipe | None = None,
    ) -> ModelVersion:
        chosen = recipe or Recipe(self.preset)
        code = code_digest.of_trees([PROJECT / "training_code"])
        replayed = replay if replay.conversations and chosen.replays else None
        inputs_digest = _inputs_digest(dataset, base, replayed, code, chosen)
        made = self._trained_before(inputs_digest, code)
        if made:
            context.log.info(
                f"run {made.training_run} has already trained this recipe: reusing model {made.digest[:12]}"
            )
            return made
        # A folder per recipe, so that an interrupted run resumes from its own checkpoints only.
        work = content_store.place(Path(self.state) / "training", inputs_digest)
        self._require_disk(context, base, chosen, work)
        work.mkdir(parents=True, exist_ok=True)
        with self._live_run(context, dataset, chosen, inputs_digest) as (variables, made_now):
            run_program(context, self._arguments(dataset, base, replayed, chosen, work), variables)
            model = self._keep(work, context, dataset, base, replayed, code, chosen)
            made_now.append(model)
        self._remember(inputs_digest, model.digest)
        return model

    @contextmanager
    def _live_run(
        self, context: StepContext, dataset: DatasetVersion, recipe: Recipe, inputs: str
    ) -> Iterator[tuple[dict[str, str], list[ModelVersion]]]:
        """An MLflow run in which the training's curves grow while it runs: the variables that name it."""
        made: list[ModelVersion] = []
        if not self.mlflow:
            yield {}, made
            return
        client = experiment.client_of(self.mlflow)
        about = {tracking.RECIPE: recipe.label, tracking.DATASET: dataset.digest, "dagster_run": context.run.run_id}
        tags = {**about, **({CANDIDATE: recipe.candidate} if recipe.candidate else {})}
        run = tracking.begin(
            client, experiment.experiment_id(client, self.mlflow), inputs, tags, recipe.candidate or recipe.label
        )
        context.log.info(f"live curves: run {run} of experiment {experiment.EXPERIMENT} in MLflow")
        try:
            yield {"MLFLOW_TRACKING_URI": experiment.tracking_uri(self.mlflow), "MLFLOW_RUN_ID": run}, made
        finally:
            tracking.end(client, run, made[0] if made else None, context.run.run_id)

    def _require_disk(self, context: StepContext, base: BaseModel, recipe: Recipe, work: Path) -> None:
        """Show what the training needs of the disk and what is free. Raises DiskFull."""
        whole = bytes_of_training(Path(base.address), recipe.settings())
        needed = max(whole - size_of(work), 0)  # an interrupted training has written a part of it
        free = require_space(work, needed, "this training")
        context.log.info(f"disk: at most {in_gb(needed)} are needed, {in_gb(free)} are free")
        context.add_output_metadata({"disk_needed_gb": round(needed / 1e9, 3), "disk_free_gb": round(free / 1e9, 3)})

    def _keep(
        self,
        work: Path,
        context: StepContext,
        dataset: DatasetVersion,
        base: BaseModel,
        replay: Replay | None,
        code: str,
        recipe: Recipe,
    ) -> ModelVersion:
        """Move `work` to the models folder, unless the same weights are stored already; return the record."""
        digest = _digest(work / WEIGHTS, code)
        same = self._intact(digest, code)
        if same:
            shutil.rmtree(work)
            return same
        plan = json.loads((work / "report.json").read_text(encoding="utf-8"))["plan"]
        folder = content_store.accept(work, self._models, digest)
        model = ModelVersion(
            digest=digest,
            address=str(folder / "model"),
            adapter_address=str(folder / "adapter") if (folder / "adapter").is_dir() else None,
            report_address=str(folder / "report.json"),
            dataset_digest=dataset.digest,
            base_digest=base.digest,
            code_version=code[:16],
            preset=recipe.label,
            training_run=context.run.run_id,
            replay_digest=replay.digest if replay else "",
            steps=plan["steps"],
            tokens_per_step=plan["tokens_per_step"],
        )
        content_store.put(model, folder)
        return model

    def _arguments(
        self, dataset: DatasetVersion, base: BaseModel, replay: Replay | None, recipe: Recipe, work: Path
    ) -> list[str]:
        return [
            PROGRAM,
            f"--config={recipe.preset}",
            *recipe.limits,
            *recipe.arguments,
            f"--base_model={base.address}",
            f"--train_file={Path(dataset.address, 'train.jsonl')}",
            f"--validation_file={Path(dataset.address, 'validation.jsonl')}",
            *([f"--replay_file={Path(replay.address, replay_sets.ROWS)}"] if replay else []),
            *([f"--preference_file={Path(dataset.address, PAIRS)}"] if dataset.pairs and recipe.prefers else []),
            f"--output_dir={work}",
            f"--max_train_minutes={self.max_minutes}",
        ]

    def _trained_before(self, inputs_digest: str, code: str) -> ModelVersion | None:
        """The model of the recipe; None when its weights are missing or damaged."""
        note = self._note(inputs_digest)
        return self._intact(note.read_text(encoding="utf-8", errors="replace"), code) if note.is_file() else None

    def _intact(self, digest: str, code: str) -> ModelVersion | None:
        found = self.find(digest)
        return found if found and _digest(self.folder(found) / WEIGHTS, code) == digest else None

    def _remember(self, inputs_digest: str, digest: str) -> None:
        atomic_write(self._note(inputs_digest), digest)

    def _note(self, inputs_digest: str) -> Path:
        return content_store.place(Path(self.state) / "recipes", inputs_digest)

    @property
    def _models(self) -> Path:
        return Path(self.state) / "models"


def _inputs_digest(dataset: DatasetVersion, base: BaseModel, replay: Replay | None, code: str, recipe: Recipe) -> str:
    """SHA-256 over what determines the weights; the report records the releases of the libraries."""
    parts = (dataset.digest, base.digest, code, recipe.digest, *([replay.digest] if replay else []))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digest(weights: Path, code: str) -> str:
    """SHA-256 of the weights and of the code that trained them: new code is a new model, even with equal weights."""
    return hashlib.sha256(f"{file_sha256(weights)}\n{code}".encode()).hexdigest()
