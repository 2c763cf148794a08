"""Writes a model as one GGUF file, weight by weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from export_code.architecture import Architecture, name_in_gguf
from export_code.errors import CannotExport
from export_code.model_files import Weights
from export_code.model_source import Source, model_name

if TYPE_CHECKING:
    import gguf

# The kinds of weights that the package gguf can write; K-quants need llama.cpp's own llama-quantize.
QUANTIZATIONS = ("f32", "bf16", "f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
BLOCK = 32  # weights that share a scale; a row that is no multiple is stored as f16
FILE_TYPES = {
    "f32": "ALL_F32", "bf16": "MOSTLY_BF16", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0",
    "q5_1": "MOSTLY_Q5_1", "q5_0": "MOSTLY_Q5_0", "q4_1": "MOSTLY_Q4_1", "q4_0": "MOSTLY_Q4_0",
}  # fmt: skip
# Errors in these two reach every logit, and one of them is all of both in a model with tied embeddings.
KEPT_AT_8_BITS = frozenset({"token_embd.weight", "output.weight"})


@dataclass(frozen=True)
class About:
    """What a GGUF file says of its model."""

    name: str
    version: str = ""
    licence: str = ""
    base: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Digests by name, such as `model` and `dataset`."""


def type_of(name: str, shape: tuple[int, ...], quantization: str) -> str:
    """How a weight is stored: vectors as f32, matrices as asked where their rows allow it."""
    if len(shape) < 2:
        return "f32"
    if quantization in ("f32", "f16", "bf16"):
        return quantization
    if shape[-1] % BLOCK:
        return "f16"
    return "q8_0" if name in KEPT_AT_8_BITS else quantization


def file_size(folder: Path, source: Source, quantization: str) -> int:
    """Bytes that the file will have, but for some kilobytes."""
    import gguf

    weights, name = Weights(folder), name_in_gguf(source.architecture.layers)
    size = sum(len(token.encode()) + 24 for token in (*source.vocabulary.tokens, *source.vocabulary.merges))
    for each in _stored(weights, source.architecture):
        shape = weights.shape(each)
        block, block_bytes = gguf.GGML_QUANT_SIZES[_type(type_of(name(each), shape, quantization))]
        size += math.prod(shape) // block * block_bytes
    return size


def write_gguf(
    folder: Path, file: Path, source: Source, about: About, quantization: str, say: Callable[[str], None]
) -> None:
    """Write the model of `folder` to `file`. Memory holds one weight at a time."""
    import gguf
    import numpy as np

    weights, name = Weights(folder), name_in_gguf(source.architecture.layers)
    names = _stored(weights, source.architecture)
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.PHI3])
    try:
        _write_about(writer, about, source, quantization)
        _write_architecture(writer, source.architecture)
        _write_vocabulary(writer, source)
        factors = {
            f"rope_factors_{kind}.weight": np.array(values, np.float32)
            for kind, values in (("long", source.architecture.rotary.long), ("short", source.architecture.rotary.short))
            if values
        }
        for each, values in factors.items():
            writer.add_tensor_info(each, values.shape, values.dtype, values.nbytes)
        kinds = {each: _type(type_of(name(each), weights.shape(each), quantization)) for each in names}
        for each, kind in kinds.items():
            shape = gguf.quant_shape_to_byte_shape(weights.shape(each), kind)
            dtype = {"F32": np.float32, "F16": np.float16}.get(kind.name, np.uint8)
            shape = weights.shape(each) if dtype != np.uint8 else shape
            size = math.prod(shape) * np.dtype(dtype).itemsize
            writer.add_tensor_info(name(each), shape, np.dtype(dtype), size, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for values in factors.values():
            writer.write_tensor_data(values)
        total = len(names)
        for number, (each, kind) in enumerate(kinds.items(), start=1):
            values = weights.read(each)
            if not np.isfinite(values).all():
                raise CannotExport(f"the weight {each} of {folder} is not finite everywhere; train the model again")
            stored = gguf.quantize(values, kind)
            if not np.isfinite(stored).all():
                raise CannotExport(f"the weight {each} of {folder} is too large for f16; use --quantize bf16 or q8_0")
            writer.write_tensor_data(stored)
            if number % 32 == 0 or number == total:
                say(f"{number} of {total} weights")
    finally:
        writer.close()


def _stored(weights: Weights, architecture: Architecture) -> list[str]:
    return [name for name in weights.names() if not (architecture.tied and name == "lm_head.weight")]


def _type(name: str) -> gguf.GGMLQuantizationType:
    import gguf

    return gguf.GGMLQuantizationType[name.upper()]


def _write_about(writer: gguf.GGUFWriter, about: About, source: Source, quantization: str) -> None:
    import gguf

    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(model_name(about.name, source.vocabulary))
    for add, value in ((writer.add_version, about.version), (writer.add_license, about.licence)):
        if value:
            add(value)
    if about.base:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, about.base)
    for name, digest in about.digests.items():
        writer.add_string(f"phi_assets.{name}_digest", digest)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[quantization]])
    if quantization.startswith("q"):
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _write_architecture(writer: gguf.GGUFWriter, model: Architecture) -> None:
    # llama.cpp takes the long factors of longrope, for every conversation, once its context is longer than the original
    # one. By default its context is this, and so are its answers the endpoint's.
    writer.add_context_length(model.served_context)
    writer.add_embedding_length(model.hidden)
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_block_count(model.layers)
    writer.add_head_count(model.heads)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_layer_norm_rms_eps(model.norm_epsilon)
    writer.add_vocab_size(model.vocabulary)
    writer.add_sliding_window(model.window)
    writer.add_rope_dimension_count(model.rotary.dimensions)
    writer.add_rope_freq_base(model.rotary.base)
    writer.add_rope_scaling_orig_ctx_len(model.rotary.original_context)
    if model.rotary.long:
        writer.add_rope_scaling_attn_factors(model.rotary.attention_factor)


def _write_vocabulary(writer: gguf.GGUFWriter, source: Source) -> None:
    vocabulary = source.vocabulary
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(vocabulary.pre_tokenizer)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    for role, number in source.special.items():
        writer.add_uint32(f"tokenizer.ggml.{_ROLES[role]}_token_id", number)
    writer.add_add_space_prefix(vocabulary.space_before)
    # The chat template writes every control token that the model was trained with.
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(source.template)


_ROLES = {"bos": "bos", "eos": "eos", "eot": "eot", "unk": "unknown", "pad": "padding"}
