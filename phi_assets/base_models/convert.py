"""Converts a Llama model in a GGUF file to the same model as ``Phi3ForCausalLM`` in safetensors.

Phi-3 is Llama with the query, key and value projections stored as one matrix, and the gate and up projections as
another. So a Llama checkpoint turns into a Phi-3 one by concatenation alone: no weight changes, and neither do the
logits.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi_assets.base_models.model_errors import BaseModelError, IncompleteModel

if TYPE_CHECKING:
    import torch
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, PreTrainedTokenizerBase

# Increase it when the converted files change: models converted earlier are then converted again.
CONVERSION_VERSION = 1

FUSED_PROJECTIONS = {
    "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}


def convert_gguf_llama(gguf: Path, folder: Path) -> list[str]:
    """Write the model of ``gguf`` to ``folder`` as a Hugging Face Phi-3 model; return notes on the conversion.

    Weights are stored as float32: 4-bit blocks with 16-bit scales and offsets need more significant bits than
    bfloat16 or float16 hold. Raises BaseModelError when the file holds no Llama model or one that Phi-3 can't express.
    """
    import torch
    from transformers import Phi3ForCausalLM

    facts = read_gguf_facts(gguf)
    if facts.architecture != "llama":
        raise BaseModelError(
            f"{gguf} holds a {facts.architecture!r} model; only a GGUF of a 'llama' model is converted"
        )
    llama = load_gguf_llama(gguf)
    config = phi3_config(llama.config)
    with torch.device("meta"):
        phi3 = Phi3ForCausalLM(config)
    phi3.load_state_dict(fuse_projections(llama.state_dict()), strict=True, assign=True)
    phi3.tie_weights()
    with quiet_loading():
        phi3.save_pretrained(folder)
    # safetensors are written with mode 0600, but a server may run as another user.
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)
    context_length = config.max_position_embeddings
    read_gguf_tokenizer(gguf, pre_tokenizer=facts.pre_tokenizer, context_length=context_length).save_pretrained(folder)
    return [
        f"weights dequantised from {facts.quantisation} to float32: what quantising had rounded away stays lost",
        "converted from LlamaForCausalLM to Phi3ForCausalLM by concatenating projections: same weights, same logits",
    ]


def load_gguf_llama(gguf: Path) -> LlamaForCausalLM:
    """The Llama model of ``gguf``, dequantised to float32."""
    import torch
    from transformers import LlamaForCausalLM

    with quiet_loading():
        return LlamaForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)


def phi3_config(llama: LlamaConfig) -> Phi3Config:
    """The Phi-3 configuration of the model that ``llama`` describes.

    Raises BaseModelError when the model has biases, scaled rotary positions or another head width: Phi-3 has none.
    """
    from transformers import Phi3Config

    rope = dict(llama.rope_parameters or {})
    if llama.attention_bias or llama.mlp_bias:
        raise BaseModelError("the Llama model has biases, which Phi-3 has not: it can't be converted")
    if rope.get("rope_type", "default") != "default":
        raise BaseModelError(
            f"the Llama model scales rotary positions by {rope['rope_type']!r}; Phi-3 can't express it"
        )
    if llama.head_dim not in (None, llama.hidden_size // llama.num_attention_heads):
        raise BaseModelError(f"the Llama model's heads are {llama.head_dim} wide, not hidden size / heads as in Phi-3")
    return Phi3Config(
        vocab_size=llama.vocab_size,
        hidden_size=llama.hidden_size,
        intermediate_size=llama.intermediate_size,
        num_hidden_layers=llama.num_hidden_layers,
        num_attention_heads=llama.num_attention_heads,
        num_key_value_heads=llama.num_key_value_heads,
        hidden_act=llama.hidden_act,
        max_position_embeddings=llama.max_position_embeddings,
        original_max_position_embeddings=llama.max_position_embeddings,
        initializer_range=llama.initializer_range,
        rms_norm_eps=llama.rms_norm_eps,
        tie_word_embeddings=llama.tie_word_embeddings,
        rope_parameters=rope,
        bos_token_id=llama.bos_token_id,
        eos_token_id=llama.eos_token_id,
        pad_token_id=llama.pad_token_id,
        sliding_window=None,
    )


def fuse_projections(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Llama's weights under Phi-3's names: projections that Phi-3 keeps as one matrix are stacked along the rows."""
    import torch

    parts = {part: (fused, parts) for fused, parts in FUSED_PROJECTIONS.items() for part in parts}
    fused_state: dict[str, torch.Tensor] = {}
    for name, weight in state.items():
        part = next((p for p in parts if name.endswith(f".{p}.weight")), None)
        if part is None:
            fused_state[name] = weight
            continue
        fused, members = parts[part]
        if part == members[0]:
            stem = name.removesuffix(f"{part}.weight")
            fused_state[f"{stem}{fused}.weight"] = torch.cat([state[f"{stem}{member}.weight"] for member in members])
    return fused_state


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Disable transformers' progress bars inside the block: a run's log is not a terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@dataclass(frozen=True)
class GgufFacts:
    """The fields of a GGUF header that a conversion needs."""

    architecture: str
    pre_tokenizer: str
    quantisation: str
    """The type that most weights are stored in, such as Q4_1."""


def read_gguf_facts(gguf: Path) -> GgufFacts:
    """The facts in the header of ``gguf``. Raises IncompleteModel when the file is no GGUF or is truncated."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
    except (ValueError, OSError, IndexError, KeyError) as e:
        raise IncompleteModel(f"{gguf} can't be read as GGUF ({e}); install its package again") from e
    stored: Counter[str] = Counter()
    for tensor in reader.tensors:
        stored[tensor.tensor_type.name] += int(tensor.n_elements)
    return GgufFacts(
        architecture=str(_value(reader, "general.architecture")),
        pre_tokenizer=str(_value(reader, "tokenizer.ggml.pre")),
        quantisation=stored.most_common(1)[0][0] if stored else "nothing",
    )


def _value(reader: Any, key: str) -> Any:
    field = reader.fields.get(key)
    return None if field is None else field.contents()


def read_gguf_tokenizer(gguf: Path, *, pre_tokenizer: str, context_length: int) -> PreTrainedTokenizerBase:
    """The tokenizer in ``gguf``, splitting text as the file's ``tokenizer.ggml.pre`` says.

    transformers reads the vocabulary and the merges, but always splits with GPT-2's pattern.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, clean_up_tokenization_spaces=False, model_max_length=context_length
    )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer_named(pre_tokenizer)
    return tokenizer


def pre_tokenizer_named(name: str) -> PreTokenizer:
    """The splitter that GGUF calls ``name``. Raises BaseModelError for one that is not known here.

    The patterns are llama.cpp's: ``smollm`` takes each digit alone before it splits as GPT-2 does.
    """
    from tokenizers import pre_tokenizers

    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name == "gpt-2":
        return gpt2
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    raise BaseModelError(f"the GGUF's pre-tokenizer {name!r} is not known: use a model with 'smollm' or 'gpt-2'")
