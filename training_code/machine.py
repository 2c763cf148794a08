"""What the machine cannot do is refused before data and weights are loaded."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from . import memory, ranks
from .errors import TrainingRefused
from .settings import Settings

if TYPE_CHECKING:
    from .pipes import Reporter

VISIBLE = "CUDA_VISIBLE_DEVICES"


def prepare(settings: Settings, log: Reporter) -> None:
    """Leave a single process one GPU, and raise TrainingRefused for what this machine cannot train."""
    if ranks.count() == 1:
        use_one_gpu(log)
    refuse_what_is_missing(settings)
    refuse_what_does_not_fit(settings, weights_of(settings))


def use_one_gpu(log: Reporter) -> None:
    """Hide all GPUs but the first visible one: transformers would split each batch over all of them, and trl refuses.

    Must come before CUDA is initialised, which reads the variable once.
    """
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        return
    first = os.environ.get(VISIBLE, "").split(",")[0].strip() or "0"
    os.environ[VISIBLE] = first
    if torch.cuda.device_count() > 1:
        raise TrainingRefused(f"this process sees {count} GPUs, and training uses one: set {VISIBLE}={first}")
    log.warning(
        f"this machine has {count} GPUs and one process uses one of them ({VISIBLE}={first}): a machine with one GPU "
        "trains as fast and costs less"
    )


def refuse_what_is_missing(settings: Settings) -> None:
    """Raises TrainingRefused for a method, an attention or a precision that needs a package or a GPU not there."""
    import torch

    gpu = torch.cuda.is_available()
    if settings.method == "qlora" and not gpu:
        raise TrainingRefused("method = qlora needs a CUDA GPU, and torch sees none: use lora")
    if settings.method == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        raise TrainingRefused("method = qlora needs bitsandbytes: pip install bitsandbytes, or use lora")
    if settings.attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        raise TrainingRefused("attention = flash_attention_2 needs the package flash_attn: install it, or use sdpa")
    in_bf16 = settings.precision != "fp32" or settings.method == "qlora"
    if gpu and in_bf16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise TrainingRefused(
            f"precision = {settings.precision}: {torch.cuda.get_device_name()} has no bf16 arithmetic: use "
            "precision = fp32 with method full or lora, or a GPU of the Ampere generation or newer"
        )


def refuse_what_does_not_fit(
    settings: Settings, weights: int, trained: int | None = None, tokens: int = 0
) -> int | None:
    """Raises TrainingRefused when the training needs more memory than the machine has; returns what it needs.

    `trained` of all `weights` are trained; None before the model is loaded, when that is known of `full` only. The
    activations of `tokens` tokens at once count where the model's dimensions are known; else this returns None.
    """
    if trained is None:
        trained = weights if settings.method == "full" and not settings.frozen else 0
    shape = memory.shape_of(settings.base_model) if tokens else None
    held, there = memory.held_bytes(settings, weights, trained), memory_bytes()
    needed = memory.peak_bytes(settings, shape, weights, trained, tokens) if shape else held
    if needed > there:
        raise TrainingRefused(
            f"method = {settings.method} with precision = {settings.precision} needs at least {needed / 1e9:.1f} GB of "
            f"memory, {held / 1e9:.1f} of them for weights, gradients and optimizer, and this machine has "
            f"{there / 1e9:.1f} GB{' on its GPU' if on_gpu() else ''}: use lora or qlora, or a larger machine"
        )
    return needed if shape else None


def weights_of(settings: Settings) -> int:
    """The number of weights of the base model, from the headers of its files."""
    return sum(map(weights_in, sorted(settings.base_model.glob("*.safetensors"))))


def weights_in(file: Path) -> int:
    """The number of weights in a safetensors file, from its header; 0 for a file without one."""
    with file.open("rb") as opened:
        start = opened.read(8)
        if len(start) < 8:
            return 0
        (length,) = struct.unpack("<Q", start)
        try:
            header = json.loads(opened.read(min(length, 100_000_000)))
        except ValueError:
            return 0
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def memory_bytes() -> int:
    """All memory of this process's GPU, or its share of the machine's where there is none."""
    import psutil
    import torch

    if on_gpu():
        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return psutil.virtual_memory().total // ranks.count()


def on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
