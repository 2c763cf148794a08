"""The results of a finished run in its output folder: either all of them, or no valid report.

All files are written to a staging folder and renamed into place; report.json comes last and marks the results as
complete.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checkpoints

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REPORT = "report.json"
PARTS = ("model", "adapter", "loss_curve.png", "preference_curve.png", "mask.png", "mask.html", REPORT)
# Copied from the base model byte by byte, besides the new weights: the configs, the tokenizer and its chat template,
# the licence. Code and pickles are not copied.
COPIED_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".md", ""}


def finished_report(output_dir: Path, fingerprint: str) -> dict[str, Any] | None:
    """The report of a run of this fingerprint whose files all exist with their recorded size, or None."""
    try:
        report = json.loads((output_dir / REPORT).read_text(encoding="utf-8"))
        complete = report["fingerprint"] == fingerprint and all(
            (output_dir / name).stat().st_size == facts["bytes"] for name, facts in report["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if complete else None


def staging(output_dir: Path) -> Path:
    """Create the empty staging folder and return its path."""
    folder = output_dir / ".partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def save_model(model: PreTrainedModel, base: Path, folder: Path) -> None:
    """Write a model folder: the weights of `model` in the base's dtype, all other files copied from the base."""
    # First, so that the copies replace the configs that transformers writes, which are adapted for training.
    model.to(base_dtype(base, model)).save_pretrained(folder)
    for path in base.iterdir():
        if path.is_file() and path.suffix in COPIED_SUFFIXES and not path.name.endswith(".safetensors.index.json"):
            shutil.copyfile(path, folder / path.name)


def base_dtype(base: Path, model: PreTrainedModel) -> Any:
    import torch

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    name = config.get("dtype") or config.get("torch_dtype")
    return getattr(torch, name) if name else model.dtype


def described(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file under `folder`, by relative path."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    return files


def publish(stage: Path, output_dir: Path, report: dict[str, Any]) -> dict[str, Any]:
    """Replace the results in `output_dir` with the staged files; returns the report with their digests."""
    report = {**report, "files": described(stage)}
    (stage / REPORT).write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for path in stage.rglob("*"):
        checkpoints.sync(path)
    # report.json is deleted first: it marks the rest as complete.
    for name in reversed(PARTS):
        target = output_dir / name
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
    for name in PARTS:
        if (stage / name).exists():
            (stage / name).rename(output_dir / name)
    checkpoints.sync(output_dir)
    stage.rmdir()
    return report
