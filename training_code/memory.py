"""The memory and the checkpoints of a training, by formula.

What stays between steps follows from the number of weights; the activations follow from the model's dimensions, for the
architecture of Phi and Llama. Tests compare both with torch's MemTracker at the shapes of Phi-3.5-mini.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .settings import Settings

if TYPE_CHECKING:
    from .pipes import Reporter

MOMENTS = 2  # of AdamW, each as wide as the weight
# Bytes of each logit: the output layer's own, its fp32 logarithm, and two fp32 gradients.
LOGIT_BYTES = 2 + 4 + 4 + 4
# Between two checkpoints, for each GB of one: written at 200 MB a second, they take a tenth of the time.
SECONDS_PER_GB = 50.0
SMALL_BYTES = 1_000_000_000  # a smaller checkpoint is written whenever the settings say


@dataclass(frozen=True)
class Shape:
    """The dimensions of a decoder."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


def shape_of(base_model: Path) -> Shape | None:
    """The dimensions in a model folder's config; None when it names them otherwise."""
    config = json.loads((base_model / "config.json").read_text(encoding="utf-8"))
    values = [config.get(name) for name in ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")]
    return Shape(*values) if all(isinstance(value, int) for value in values) else None


def held_bytes(settings: Settings, weights: int, trained: int) -> int:
    """Bytes of weights, gradients, optimizer and copies of weights at the fullest moment of a step; no activations."""
    return fixed_bytes(settings, weights, trained) + changing_bytes(settings, trained, 0, 0)


def fixed_bytes(settings: Settings, weights: int, trained: int) -> int:
    """Bytes that are there all the time: weights, the optimizer's state, and the base's copy for replay."""
    if settings.method == "qlora":
        return weights // 2 + trained * 4 * (1 + MOMENTS)
    width = 2 if settings.precision == "bf16" else 4
    if settings.method == "lora":
        return weights * width + trained * 4 * (1 + MOMENTS)  # the adapter is fp32
    base_copy = (4 if settings.precision == "fp32" else 2) if settings.replay_file and settings.replay_share else 0
    return weights * width + trained * (width * MOMENTS + base_copy)


def changing_bytes(settings: Settings, trained: int, kept: int, work: int) -> int:
    """Bytes of gradients, casts and activations at their highest: `kept` for the backward pass, and `work` at once."""
    full = settings.method == "full"
    gradients = trained * (2 if full and settings.precision == "bf16" else 4)
    # Under autocast a forward pass holds the trained weights in bf16 too.
    casts = trained * 2 if full and settings.precision == "bf16-autocast" else 0
    if settings.accumulation > 1:  # the gradients of earlier passes are still there
        return gradients + casts + kept + work
    return max(gradients + work, casts + kept + work)


def peak_bytes(settings: Settings, shape: Shape, weights: int, trained: int, tokens: int) -> int:
    """Bytes at the fullest moment of a step that computes `tokens` tokens at once."""
    hidden, wide = shape.hidden, shape.intermediate
    narrow = 4 if settings.precision == "fp32" and settings.method != "qlora" else 2
    # Norms are fp32 whatever the matrices are: 16 bytes of each hidden value of a token.
    layer = 16 * hidden + narrow * (9 * hidden + 4 * wide)
    if settings.method != "full":
        # The inputs of the adapted matrices, in fp32 and with a mask of one byte.
        layer += (4 + (settings.lora_dropout > 0)) * (3 * hidden + wide)
    residual = hidden * (2 if settings.precision == "bf16" or settings.method == "qlora" else 4)
    logits = LOGIT_BYTES * shape.vocabulary
    if settings.gradient_checkpointing:
        kept, work = shape.layers * residual, max(logits, layer)
    else:
        kept, work = shape.layers * layer, logits
    cast = 2 * hidden * shape.vocabulary if settings.precision == "bf16-autocast" else 0  # of the output layer
    changing = changing_bytes(settings, trained, tokens * kept + cast, tokens * work)
    return fixed_bytes(settings, weights, trained) + changing


def checkpoint_bytes(settings: Settings, weights: int, trained: int) -> int:
    """Bytes of one checkpoint: the saved weights, which are the adapter's or all, and the optimizer's state."""
    width = 2 if settings.method == "full" and settings.precision == "bf16" else 4
    return width * ((weights if settings.method == "full" else trained) + MOMENTS * trained)


def seconds_between(settings: Settings, checkpoint: int) -> float:
    """Seconds between checkpoints of so many bytes: `save_seconds`, and more where they are large."""
    needed = checkpoint / 1e9 * SECONDS_PER_GB if checkpoint > SMALL_BYTES else 0.0
    return max(settings.save_seconds, needed)


def announce(log: Reporter, settings: Settings, peak: int | None, checkpoint: int) -> None:
    """Report the memory and the checkpoints that the run will need."""
    if peak is not None:
        log.line(f"about {peak / 1e9:.1f} GB of memory at the fullest moment, by formula")
    every = seconds_between(settings, checkpoint)
    if every > settings.save_seconds:
        log.line(
            f"a checkpoint is {checkpoint / 1e9:.0f} GB: one every {every / 60:.0f} minutes, not every "
            f"{settings.save_seconds:g} s (save_seconds), besides one each epoch"
        )
