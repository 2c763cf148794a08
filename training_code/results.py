"""What a finished run leaves in its output folder: all of it, or nothing that could be taken for it.

Everything is written to a folder beside and renamed into place; report.json comes last, and
says that the rest is there.
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
PARTS = ("model", "adapter", "loss_curve.png", "mask.png", "mask.html", REPORT)
# Weights are written anew, and the rest of a model folder is taken over byte by byte: the configs, the tokenizer and
# its chat template, the licence. Nothing that runs code or unpickles is.
KEPT_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".md", ""}


def finished_report(output_dir: Path, fingerprint: str) -> dict[str, Any] | None:
    """The report of a run of this fingerprint whose files are all there in the size they had, or None."""
    try:
        report = json.loads((output_dir / REPORT).read_text(encoding="utf-8"))
        whole = report["fingerprint"] == fingerprint and all(
            (output_dir / name).stat().st_size == facts["bytes"] for name, facts in report["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if whole else None


def staging(output_dir: Path) -> Path:
    """An empty folder in which to write the results."""
    folder = output_dir / ".partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def save_model(model: PreTrainedModel, base: Path, folder: Path) -> None:
    """A model folder with the weights of `model` in the base's number format, and all else as in the base's folder."""
    # Before anything else is written: transformers adapts the configs to what a trainer wants.
    model.to(base_dtype(base, model)).save_pretrained(folder)
    for path in base.iterdir():
        if path.is_file() and path.suffix in KEPT_SUFFIXES and not path.name.endswith(".safetensors.index.json"):
            shutil.copyfile(path, folder / path.name)


def base_dtype(base: Path, model: PreTrainedModel) -> Any:
    import torch

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    name = config.get("dtype") or config.get("torch_dtype")
    return getattr(torch, name) if name else model.dtype


def described(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file under `folder`, by relative path."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    return found


def publish(stage: Path, output_dir: Path, report: dict[str, Any]) -> dict[str, Any]:
    """The staged files are in `output_dir`, in place of an earlier run's; returns the report with their digests."""
    report = {**report, "files": described(stage)}
    (stage / REPORT).write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for path in stage.rglob("*"):
        checkpoints.sync(path)
    # First what says that the rest is there.
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
