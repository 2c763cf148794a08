"""What the machine cannot do is refused before data and weights are loaded."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from . import ranks
from .errors import TrainingRefused
from .settings import Settings

if TYPE_CHECKING:
    from .pipes import Reporter

VISIBLE = "CUDA_VISIBLE_DEVICES"
MOMENTS = 2  # of AdamW, each as wide as the weight


def prepare(settings: Settings, log: Reporter) -> None:
    """Leave a single process one GPU, and raise TrainingRefused for what this machine cannot train."""
    if ranks.count() == 1:
        use_one_gpu(log)
    refuse_what_is_missing(settings)
    files = sorted(settings.base_model.glob("*.safetensors"))
    refuse_what_does_not_fit(settings, sum(map(weights_in, files)))


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


def refuse_what_does_not_fit(settings: Settings, weights: int, trained: int | None = None) -> None:
    """Raises TrainingRefused when weights, gradients and optimizer alone need more memory than the machine has.

    `trained` of all `weights` are trained; None before the model is loaded, when that is known of `full` only.
    """
    if trained is None:
        trained = weights if settings.method == "full" and not settings.frozen else 0
    needed, there = least_bytes(settings, weights, trained), memory_bytes()
    if needed > there:
        raise TrainingRefused(
            f"method = {settings.method} with precision = {settings.precision} needs at least {needed / 1e9:.1f} GB of "
            f"memory for weights, gradients and optimizer, and this machine has {there / 1e9:.1f} GB"
            f"{' on its GPU' if on_gpu() else ''}: use lora or qlora, or a larger machine"
        )


def least_bytes(settings: Settings, weights: int, trained: int) -> int:
    """Bytes of memory that the training needs at least: activations are not counted."""
    if settings.method == "qlora":
        return weights // 2 + trained * 4 * (1 + MOMENTS)
    width = 2 if settings.precision == "bf16" else 4
    if settings.method == "lora":
        return weights * width + trained * 4 * (1 + MOMENTS)  # the adapter is fp32
    base_copy = (4 if settings.precision == "fp32" else 2) if settings.replay_file and settings.replay_share else 0
    return weights * width + trained * (width * (1 + MOMENTS) + base_copy)


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
