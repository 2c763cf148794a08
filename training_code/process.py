"""The process of a run: memory, signals, threads, and the facts for its report."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import signal
import sys
from collections import Counter
from types import FrameType
from typing import TYPE_CHECKING, Any

from . import ranks
from .checkpoints import LIBRARIES
from .errors import TrainingRefused
from .settings import Settings

if TYPE_CHECKING:
    from .data import TokenRows
    from .progress import Progress
    from .sizing import Plan
    from .trainer import Trainer

# By default glibc returns every large buffer to the kernel and requests it again, page by page, at each step.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


def restart_with_kept_memory() -> None:
    """Restart this process in place with KEEP_MEMORY set: glibc reads these variables only at process start."""
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in KEEP_MEMORY):
        return
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **KEEP_MEMORY})


def stop_on_signals() -> None:
    """Make SIGTERM and SIGINT end the process at once, with 143 and 130; work since the last checkpoint is lost.

    Set explicitly because background jobs of a shell and some launchers inherit an ignored SIGINT.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def end(number: int, frame: FrameType | None) -> None:
    if ranks.is_first():
        os.write(2, f"stopped by {signal.Signals(number).name}; the last complete checkpoint is stored\n".encode())
    # Not sys.exit(): it would wait for torch's threads, and an exception inside an autograd call can get lost.
    os._exit(128 + number)


def check_paths(settings: Settings) -> None:
    """Create the output folder. Raises TrainingRefused for a missing input."""
    if not settings.base_model.is_dir():
        raise TrainingRefused(f"base_model: no folder {settings.base_model}")
    for name in ("train_file", "validation_file", "replay_file", "preference_file"):
        path = getattr(settings, name)
        if path is not None and not path.is_file():
            raise TrainingRefused(f"{name}: no file {getattr(settings, name)}")
    settings.output_dir.mkdir(parents=True, exist_ok=True)


def prepare(settings: Settings) -> None:
    """Load torch with its threads set, disable progress bars, and disable access to the Hugging Face hub."""
    # Must be set before torch is loaded. Threads that spin while they wait for each other made the training of a small
    # model ten times slower on two cores shared with other programs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    import datasets
    import torch

    # In a log file, progress bars would repeat the log lines.
    datasets.disable_progress_bars()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    elif ranks.count() > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // ranks.count()))
    if ranks.count() > 1:
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # accelerate would set a number of its own


def counted(model: Any) -> tuple[int, int]:
    """Trained weights and all weights of a model; peft counts 4-bit weights, of which two are stored in a byte."""
    if hasattr(model, "get_nb_trainable_parameters"):
        return model.get_nb_trainable_parameters()
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def device_name() -> str:
    """The name of the GPU that trains, or the number of CPU threads, and how many of them there are."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({torch.get_num_threads()} threads)"
    return f"{ranks.count()} x {name}" if ranks.count() > 1 else name


def peak_memory_gb() -> float:
    """The peak resident memory of this process, in GB (10^9 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def facts(
    settings: Settings,
    identity: str,
    trainer: Trainer,
    planned: Plan,
    progress: Progress,
    train: TokenRows,
    validation: TokenRows,
    replay: TokenRows | None,
) -> dict[str, Any]:
    """The contents of report.json, as JSON values.

    Speed, seconds and memory are those of this process; they exclude earlier processes that were killed.
    """
    import torch

    state = trainer.state
    trained, parameters = counted(trainer.model)
    return {
        "fingerprint": identity,
        "config": settings.as_json(),
        "seed": settings.seed,
        "method": settings.method,
        "steps": state.global_step,
        "epochs": round(state.epoch or 0, 4),
        "stopped_early": state.global_step < planned.steps,
        "plan": planned.as_json(),
        "best_step": state.best_global_step,
        "best_validation_loss": state.best_metric,
        "losses": [{"step": e["step"], "loss": e["loss"]} for e in state.log_history if "loss" in e],
        "validation_losses": [
            {"step": e["step"], "epoch": e["epoch"], "loss": e["eval_loss"]}
            for e in state.log_history
            if "eval_loss" in e
        ],
        "conversations": {
            "train": len(train.rows),
            "replay": len(replay.rows) if replay else 0,
            "validation": len(validation.rows),
        },
        "turns": dict(Counter(str(len(messages)) for messages in train.conversations)),
        "tokens": {
            "train": train.tokens,
            "train_in_loss": train.tokens_in_loss,
            "replay": replay.tokens if replay else 0,
            "validation": validation.tokens,
        },
        "truncated": {"train": train.cut, "validation": validation.cut},
        "tokens_per_second": round(progress.speed(), 1) or None,
        "training_seconds": round(progress.seconds_trained, 1),
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "peak_gpu_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 3) if torch.cuda.is_available() else None,
        "parameters": parameters,
        "parameters_trained": trained,
        "threads": torch.get_num_threads(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES}
        | {"python": platform.python_version()},
    }
