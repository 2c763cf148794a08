"""Quantised models on this machine: quantization_code as a child process."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from phi_assets import code_digest
from phi_assets.backends import content_store
from phi_assets.backends.disk_space import require_space
from phi_assets.backends.local.pipes_child import run_program
from phi_assets.files import atomic_write, file_sha256
from phi_assets.models import quantization_rules
from phi_assets.ports.base import Decides, StepContext
from phi_assets.ports.serving import ModelOptimizer
from phi_assets.project import PROJECT
from phi_assets.records import DatasetVersion, OptimizedModel, RegisteredModel

CHILD = "phi_assets.backends.local.module_child"
REPORT, GRAPH, INPUTS = "quantization.json", "model.onnx", "inputs.json"
PROGRAMS = ("quantization_code", "evaluation_code", "serving_code")


class LocalModelOptimizer(ModelOptimizer):
    """Stores quantised models under the home by digest, each with what was measured."""

    decides: ClassVar = {
        "optimized_model": Decides(
            modules=("local.module_child", "local.pipes_child"),
            programs=PROGRAMS,
            settings=("quantize",),
        ),
    }
    state: str
    form: str
    questions_file: str | None
    general_file: str | None

    def find(self, digest: str) -> OptimizedModel | None:
        found = content_store.find(self._root, digest, lambda folder: (folder / REPORT).is_file())
        if not isinstance(found, OptimizedModel):
            return None
        return found if found.form == "full" or Path(found.address, GRAPH).is_file() else None

    def report(self, optimized: OptimizedModel) -> dict[str, Any]:
        return json.loads((content_store.place(self._root, optimized.digest) / REPORT).read_text(encoding="utf-8"))

    def optimize(self, context: StepContext, model: RegisteredModel, dataset: DatasetVersion) -> OptimizedModel:
        inputs = self._inputs(model, dataset)
        if made := self._made_from(inputs):
            context.log.info(f"reusing what was measured of this model before: {made.note or made.form}")
            return made
        weights = sum(file.stat().st_size for file in Path(model.address).glob("*.safetensors"))
        require_space(self._root, weights, "the quantised model")
        work = self._root / f"under-way-{context.run.run_id}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            run_program(context, self._arguments(model, dataset, work))
            atomic_write(work / INPUTS, json.dumps(inputs, indent=2) + "\n")
            return self._keep(work, model)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _inputs(self, model: RegisteredModel, dataset: DatasetVersion) -> dict[str, str]:
        """What the result follows from; a rollback finds what was made of the former champion by it."""
        files = {"questions": self.questions_file, "general": self.general_file}
        return {
            "model": model.model_digest,
            "dataset": dataset.digest,
            "form": self.form,
            "programs": code_digest.of_trees(PROJECT / name for name in PROGRAMS),
            "rules": code_digest.of_files([Path(quantization_rules.__file__)]),
            **{name: file_sha256(Path(file)) if file else "" for name, file in files.items()},
        }

    def _made_from(self, inputs: Mapping[str, str]) -> OptimizedModel | None:
        for file in sorted(self._root.glob(f"*/{INPUTS}")):
            with contextlib.suppress(OSError, ValueError):
                record = OptimizedModel.load(file.with_name(content_store.RECORD))
                if record and json.loads(file.read_text(encoding="utf-8")) == inputs:
                    return self.find(record.digest)
        return None

    def _arguments(self, model: RegisteredModel, dataset: DatasetVersion, work: Path) -> list[str]:
        arguments = ["-m", CHILD, "quantization_code", model.address, f"--form={self.form}"]
        files = {split: Path(dataset.address, f"{split}.jsonl") for split in ("train", "test")}
        arguments += [f"--{split}_file={file}" for split, file in files.items()]
        arguments.append(f"--output_dir={work}")
        if self.general_file:
            arguments.append(f"--general={self.general_file}")
        if self.questions_file:
            arguments.append(f"--questions={self.questions_file}")
        return arguments

    def _keep(self, work: Path, model: RegisteredModel) -> OptimizedModel:
        """Move the finished folder to its place; without the quantised weights when they are not served."""
        report = (work / REPORT).read_bytes()
        digest = hashlib.sha256(model.digest.encode() + report).hexdigest()
        outcome = quantization_rules.judge(json.loads(report))
        if outcome.warning:
            for file in (work / GRAPH, work / f"{GRAPH}.data"):
                file.unlink(missing_ok=True)
        folder = content_store.accept(work, self._root, digest)
        record = OptimizedModel(
            digest=digest,
            address=str(folder),
            model_digest=model.model_digest,
            form="full" if outcome.warning else self.form,
            note=outcome.description if outcome.warning else "",
        )
        content_store.put(record, folder)
        return record

    @property
    def _root(self) -> Path:
        return Path(self.state) / "optimized_models"
