"""The bytes that a training writes at most, from the base model's tensors and the recipe."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

OPTIMIZER_STATES = 2  # AdamW's two moments, as wide as the weights that they belong to
MORE_CHECKPOINTS = 2  # besides the newest ones: the best, and the one that is being written

# The roles of training_code, by words of the tensors' names in the architectures of transformers. Its own modules are
# found in the model, which is not loaded here.
ROLES = {
    "attention": ("attn", "attention"),
    "mlp": ("mlp", "feed_forward", "ffn", "moe"),
    "embeddings": ("embed", "lm_head", "wte", "wpe"),
}

Shapes = Mapping[str, tuple[int, ...]]


def bytes_of_training(base: Path, settings: Mapping[str, Any]) -> int:
    """Return the bytes of all checkpoints that exist at once, and of the finished model.

    `settings` are those of training_code. Optimizer state is in the checkpoints only, of the trained weights only.
    """
    files = sorted(base.glob("*.safetensors"))
    shapes = _shapes(files)
    width = 2 if settings["precision"] == "bf16" else 4
    if settings["method"] == "full":
        frozen = settings["frozen"] or ()
        saved = sum(map(math.prod, shapes.values()))
        trained = sum(math.prod(shape) for name, shape in shapes.items() if not _is_any_in(frozen, name))
    else:
        width = 4  # the adapter stays fp32
        saved = trained = _adapter_weights(shapes, settings)
    checkpoint = width * (saved + OPTIMIZER_STATES * trained)
    model = sum(file.stat().st_size for file in files)
    adapter = 0 if settings["method"] == "full" else width * saved
    kept = settings["keep_checkpoints"] + MORE_CHECKPOINTS
    if settings["preference"] != "none":  # its checkpoints come besides: of these none is the best
        kept += settings["keep_checkpoints"] + 1
    return kept * checkpoint + model + adapter


def _adapter_weights(shapes: Shapes, settings: Mapping[str, Any]) -> int:
    """Return rank x (rows + columns), summed over the targeted matrices."""
    targets = settings["lora_targets"]
    matrices = [shape for name, shape in shapes.items() if len(shape) == 2 and _is_any_in(targets, name)]
    return settings["lora_rank"] * sum(map(sum, matrices))


def _is_any_in(parts: Iterable[str], name: str) -> bool:
    return any(word in name for part in parts for word in ROLES.get(part, (part,)))


def _shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with safe_open(file, framework="np") as opened:
            shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    return shapes
