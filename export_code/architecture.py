"""What llama.cpp has to know of a Phi-3 model's layers: sizes, rotary positions, names of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from export_code.errors import CannotExport

SUPPORTED = "Phi3ForCausalLM"
NO_CONVERTER = (
    "export it with --format safetensors and convert that folder with llama.cpp's own convert_hf_to_gguf.py, "
    "which knows more architectures"
)


@dataclass(frozen=True)
class Rotary:
    """Rotary positions. `long` and `short` divide the frequencies of a longrope model; both are empty for others."""

    dimensions: int
    base: float
    original_context: int
    attention_factor: float = 1.0
    long: tuple[float, ...] = ()
    short: tuple[float, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """The sizes of a Phi-3 model. `window` is 0 when every token attends to all before it."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    norm_epsilon: float
    tied: bool
    window: int
    rotary: Rotary

    @property
    def served_context(self) -> int:
        """Tokens of prompt and answer that the endpoint takes: the original length of a longrope model."""
        return min(self.context, self.rotary.original_context) if self.rotary.long else self.context


def architecture_of(config: Mapping[str, Any], where: str) -> Architecture:
    """The architecture that a config.json describes. Raises CannotExport for any but Phi-3."""
    if config.get("architectures") != [SUPPORTED]:
        raise CannotExport(
            f"{where} names {config.get('architectures')}; GGUF is written for {SUPPORTED}: {NO_CONVERTER}"
        )
    try:
        context = int(config["max_position_embeddings"])
        window = int(config.get("sliding_window") or 0)
        return Architecture(
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            feed_forward=int(config["intermediate_size"]),
            heads=int(config["num_attention_heads"]),
            kv_heads=int(config.get("num_key_value_heads") or config["num_attention_heads"]),
            vocabulary=int(config["vocab_size"]),
            context=context,
            norm_epsilon=float(config["rms_norm_eps"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            window=window if window < context else 0,
            rotary=_rotary(config, context, where),
        )
    except KeyError as e:
        raise CannotExport(f"{where} has no {e}; train the model again") from e


def _rotary(config: Mapping[str, Any], context: int, where: str) -> Rotary:
    """Rotary positions, by the names of today's transformers or by those of the models' publication."""
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    kind = rope.get("rope_type") or rope.get("type") or "default"
    head = int(config["hidden_size"]) // int(config["num_attention_heads"])
    share = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    base = float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)
    original = int(
        rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings") or context
    )
    dimensions = int(head * float(share))
    if kind == "default":
        return Rotary(dimensions, base, original)
    if kind not in ("longrope", "su"):
        raise CannotExport(
            f"{where} scales rotary positions by {kind!r}; of Phi-3 only longrope is known: {NO_CONVERTER}"
        )
    long, short = tuple(map(float, rope["long_factor"])), tuple(map(float, rope["short_factor"]))
    if not len(long) == len(short) == dimensions // 2:
        raise CannotExport(
            f"{where} has {len(long)} long and {len(short)} short factors for {dimensions // 2} pairs of rotary "
            "dimensions; get the model again"
        )
    factor = rope.get("attention_factor")
    return Rotary(dimensions, base, original, float(factor or _attention_factor(context, original)), long, short)


def _attention_factor(context: int, original: int) -> float:
    """The scale of attention that longrope prescribes (arXiv:2402.13753)."""
    scale = context / original
    return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0


def name_in_gguf(layers: int) -> Callable[[str], str]:
    """A function from a weight's name in transformers to its name in GGUF. It raises CannotExport for others."""
    import gguf

    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.PHI3, layers)

    def name(weight: str) -> str:
        found = known.get_name(weight, try_suffixes=(".weight",))
        if found is None:
            raise CannotExport(f"the weight {weight} is not one of a Phi-3 model: {NO_CONVERTER}")
        return found

    return name
