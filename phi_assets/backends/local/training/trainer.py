"""Training on this machine: training_code/fine_tune.py as a child process."""

import hashlib
import importlib.metadata
import shutil
from pathlib import Path

from phi_assets import files
from phi_assets.backends import content_store
from phi_assets.backends.local.pipes_child import run_program
from phi_assets.files import atomic_write, file_sha256
from phi_assets.models.recipes import Recipe
from phi_assets.ports.base import StepContext
from phi_assets.ports.training import Trainer
from phi_assets.records import BaseModel, DatasetVersion, ModelVersion
from phi_assets.settings import PROJECT

PROGRAM = "training_code/fine_tune.py"
WEIGHTS = Path("model", "model.safetensors")


class LocalTrainer(Trainer):
    """Fine-tunes with the processor of this machine; keeps models under the home by their digest."""

    state: str
    preset: str
    max_minutes: float

    def find(self, digest: str) -> ModelVersion | None:
        found = content_store.find(self._models, digest, lambda folder: (folder / WEIGHTS).is_file())
        return found if isinstance(found, ModelVersion) else None

    def folder(self, model: ModelVersion) -> Path:
        return content_store.place(self._models, model.digest)

    def train(
        self, context: StepContext, dataset: DatasetVersion, base: BaseModel, recipe: Recipe | None = None
    ) -> ModelVersion:
        chosen = recipe or Recipe(self.preset)
        code = files.tree_sha256(PROJECT / "training_code")
        made_of = _made_of(dataset, base, code, chosen)
        made = self._made_before(made_of, code)
        if made:
            context.log.info(f"this recipe has made model {made.digest[:12]} already, in run {made.training_run}")
            return made
        # A folder per recipe, so that a run that was cut short finds its own checkpoints, and no other's.
        work = content_store.place(Path(self.state) / "training", made_of)
        work.mkdir(parents=True, exist_ok=True)
        run_program(context, self._arguments(dataset, base, chosen, work))
        model = self._keep(work, context, dataset, base, code, chosen)
        self._remember(made_of, model.digest)
        return model

    def _keep(
        self, work: Path, context: StepContext, dataset: DatasetVersion, base: BaseModel, code: str, recipe: Recipe
    ) -> ModelVersion:
        """The record of what lies in `work`, which goes to the shelf unless another recipe made the same weights."""
        digest = _digest(work / WEIGHTS, code)
        same = self._whole(digest, code)
        if same:
            shutil.rmtree(work)
            return same
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
        )
        content_store.put(model, folder)
        return model

    def _arguments(self, dataset: DatasetVersion, base: BaseModel, recipe: Recipe, work: Path) -> list[str]:
        return [
            PROGRAM,
            f"--config={recipe.preset}",
            *recipe.arguments,
            f"--base_model={base.address}",
            f"--train_file={Path(dataset.address, 'train.jsonl')}",
            f"--validation_file={Path(dataset.address, 'validation.jsonl')}",
            f"--output_dir={work}",
            f"--max_train_minutes={self.max_minutes}",
        ]

    def _made_before(self, made_of: str, code: str) -> ModelVersion | None:
        """What the recipe made, if its weights are still those; None when they are gone or damaged."""
        noted = self._note(made_of)
        return self._whole(noted.read_text(encoding="utf-8"), code) if noted.is_file() else None

    def _whole(self, digest: str, code: str) -> ModelVersion | None:
        found = self.find(digest)
        return found if found and _digest(self.folder(found) / WEIGHTS, code) == digest else None

    def _remember(self, made_of: str, digest: str) -> None:
        atomic_write(self._note(made_of), digest)

    def _note(self, made_of: str) -> Path:
        return content_store.place(Path(self.state) / "recipes", made_of)

    @property
    def _models(self) -> Path:
        return Path(self.state) / "models"


def _made_of(dataset: DatasetVersion, base: BaseModel, code: str, recipe: Recipe) -> str:
    """SHA-256 over all that decides the weights."""
    from training_code.checkpoints import LIBRARIES

    libraries = [f"{name}={importlib.metadata.version(name)}" for name in LIBRARIES]
    return hashlib.sha256(
        "\n".join((dataset.digest, base.digest, code, recipe.digest, *libraries)).encode()
    ).hexdigest()


def _digest(weights: Path, code: str) -> str:
    """SHA-256 of the weights and of the code that trained them: new code is a new model, even with equal weights."""
    return hashlib.sha256(f"{file_sha256(weights)}\n{code}".encode()).hexdigest()
