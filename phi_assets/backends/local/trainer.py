"""Training on this machine: training_code/fine_tune.py as a child process."""

import hashlib
from pathlib import Path

import dagster as dg

from phi_assets import versions
from phi_assets.backends import shelf
from phi_assets.backends.local.child import run_program
from phi_assets.backends.ports import Trainer
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
        found = shelf.find(self._models, digest, lambda folder: (folder / WEIGHTS).is_file())
        return found if isinstance(found, ModelVersion) else None

    def folder(self, model: ModelVersion) -> Path:
        return shelf.place(self._models, model.digest)

    def train(self, context: dg.AssetExecutionContext, dataset: DatasetVersion, base: BaseModel) -> ModelVersion:
        code = versions.tree_digest(PROJECT / "training_code")
        work = self._work_folder(dataset, base, code)
        work.mkdir(parents=True, exist_ok=True)
        run_program(context, self._arguments(dataset, base, work))
        digest = _digest(work / WEIGHTS, code)
        folder = shelf.accept(work, self._models, digest)
        model = ModelVersion(
            digest=digest,
            address=str(folder / "model"),
            adapter_address=str(folder / "adapter") if (folder / "adapter").is_dir() else None,
            report_address=str(folder / "report.json"),
            dataset_digest=dataset.digest,
            base_digest=base.digest,
            code_version=code[:16],
            preset=Path(self.preset).stem,
            training_run=context.run_id,
        )
        shelf.put(model, folder)
        return model

    def _arguments(self, dataset: DatasetVersion, base: BaseModel, work: Path) -> list[str]:
        return [
            PROGRAM,
            f"--config={self.preset}",
            f"--base_model={base.address}",
            f"--train_file={Path(dataset.address, 'train.jsonl')}",
            f"--validation_file={Path(dataset.address, 'validation.jsonl')}",
            f"--output_dir={work}",
            f"--max_train_minutes={self.max_minutes}",
        ]

    def _work_folder(self, dataset: DatasetVersion, base: BaseModel, code: str) -> Path:
        """One folder per recipe, so that a run that was cut short finds its own checkpoints, and no other's."""
        recipe = "\n".join((dataset.digest, base.digest, code, self.preset))
        return shelf.place(Path(self.state) / "training", hashlib.sha256(recipe.encode()).hexdigest())

    @property
    def _models(self) -> Path:
        return Path(self.state) / "models"


def _digest(weights: Path, code: str) -> str:
    """SHA-256 of the weights and of the code that trained them: new code is a new model, even with equal weights."""
    with weights.open("rb") as handle:
        content = hashlib.file_digest(handle, "sha256").hexdigest()
    return hashlib.sha256(f"{content}\n{code}".encode()).hexdigest()
