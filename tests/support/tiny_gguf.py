"""A tiny Llama model in a GGUF file, as llama.cpp's converter writes one."""

import json
from pathlib import Path
from typing import Any


def write_tiny_gguf(path: Path, tokenizer_from: Path, *, architecture: str = "llama", pre: str = "smollm") -> None:
    """Write a GGUF file with random weights to ``path``, as llama.cpp's converter does."""
    from gguf import GGUFWriter, TokenType

    writer = GGUFWriter(path, architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(16)
    stored = json.loads((tokenizer_from / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = sorted(stored["model"]["vocab"], key=stored["model"]["vocab"].__getitem__)
    special = {token["content"] for token in stored["added_tokens"]}
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(vocabulary)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in stored["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template((tokenizer_from / "chat_template.jinja").read_text(encoding="utf-8"))
    _add_weights(writer, len(vocabulary))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_weights(writer: Any, vocabulary: int) -> None:
    import numpy as np
    from gguf import GGMLQuantizationType, quantize

    numbers = np.random.default_rng(0)
    shapes = {
        "attn_q": (64, 64),
        "attn_k": (32, 64),
        "attn_v": (32, 64),
        "attn_output": (64, 64),
        "ffn_gate": (128, 64),
        "ffn_up": (128, 64),
        "ffn_down": (64, 128),
    }
    writer.add_tensor("token_embd.weight", numbers.normal(0, 0.02, (vocabulary, 64)).astype(np.float32))
    writer.add_tensor("output_norm.weight", np.ones(64, dtype=np.float32))
    for layer in range(2):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(64, dtype=np.float32))
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", np.ones(64, dtype=np.float32))
        for name, shape in shapes.items():
            q4_1 = GGMLQuantizationType.Q4_1
            weights = quantize(numbers.normal(0, 0.1, shape).astype(np.float32), q4_1)
            writer.add_tensor(f"blk.{layer}.{name}.weight", weights, raw_dtype=q4_1)
