"""Checkpoints that survive a kill at any moment: complete ones have a marker file, and only those are resumed from.

The marker is written last, after all other files are flushed to disk. It holds the fingerprint of everything that the
run learns from; a checkpoint without it, or with another fingerprint, is ignored.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .settings import Settings

MARKER = "complete.json"
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint; `finished` when the training had ended."""

    folder: Path
    step: int
    finished: bool


def fingerprint(settings: Settings) -> str:
    """SHA-256 of everything that decides the weights: data, base model, settings, this code, library versions."""
    digest = hashlib.sha256()
    digest.update(json.dumps(settings.learned_from(), sort_keys=True).encode())
    digest.update(json.dumps({name: importlib.metadata.version(name) for name in LIBRARIES}).encode())
    code = sorted(Path(__file__).resolve().parent.glob("*.py"))
    model = sorted(p for p in settings.base_model.iterdir() if p.is_file())
    replay = [settings.replay_file] if settings.replay_file and settings.replay_share else []
    pairs = [settings.preference_file] if settings.preference_file and settings.preference != "none" else []
    for path in [settings.train_file, settings.validation_file, *replay, *pairs, *code, *model]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def mark_complete(folder: Path, step: int, fingerprint: str, *, finished: bool) -> None:
    """Flush the checkpoint in `folder` to disk, then write its marker."""
    for path in sorted(folder.rglob("*")):
        sync(path)
    partial = folder / f"{MARKER}.partial"
    partial.write_text(json.dumps({"fingerprint": fingerprint, "step": step, "finished": finished}), encoding="utf-8")
    sync(partial)
    partial.rename(folder / MARKER)
    sync(folder)


def unmark(folder: Path) -> None:
    """Remove the marker of the checkpoint in `folder`, if there is one."""
    (folder / MARKER).unlink(missing_ok=True)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The checkpoint in `folder` if it is complete and has this fingerprint, else None."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    best = state.get("best_model_checkpoint")
    if marker.get("fingerprint") != fingerprint or (best is not None and not (Path(best) / MARKER).is_file()):
        return None
    return Checkpoint(folder, marker["step"], marker["finished"])


def newest(root: Path, fingerprint: str) -> Checkpoint | None:
    """The complete checkpoint of this fingerprint with the most steps. Deletes all other kinds from `root`."""
    complete = []
    for folder in root.glob("checkpoint-*"):
        checkpoint = read(folder, fingerprint)
        if checkpoint is None:
            remove(folder)
        else:
            complete.append(checkpoint)
    return max(complete, key=lambda checkpoint: checkpoint.step, default=None)


def keep_newest(root: Path, count: int, best: str | None) -> None:
    """Delete all complete checkpoints in `root` but the `count` newest and the best one."""
    complete = [folder for folder in root.glob("checkpoint-*") if (folder / MARKER).is_file()]
    complete.sort(key=lambda folder: int(folder.name.rpartition("-")[2]), reverse=True)
    for folder in complete[count:]:
        if best is None or folder.name != Path(best).name:
            remove(folder)


def remove(folder: Path) -> None:
    """Delete `folder`, its marker first: if this is killed midway, the rest does not count as complete."""
    unmark(folder)
    shutil.rmtree(folder)
