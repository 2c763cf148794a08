"""Tiny models with what is special about each published Phi, as their authors publish them: before any preparation.

Widths and lengths are small; proportions, kinds of attention and positions, tied or own output layer, special tokens,
the way of the tokenizer and the keys of config.json are those of the model.
"""

import json
from pathlib import Path
from typing import Any, Literal

from tests.support.tiny_models import _FAMILIES, _TEXT, _save_quietly, _write_tokenizer

Shape = Literal["phi3-mini-4k", "phi35-mini", "phi4-mini"]
SHAPES: tuple[Shape, ...] = ("phi3-mini-4k", "phi35-mini", "phi4-mini")

HEAD = 16
ORIGINAL = 256  # positions of the pretraining; longer conversations change the factors of longrope
LONG = 2048
WINDOW = 48  # of Phi-3-mini-4k: 2,047 of 4,096

# In the order of their ids, from 32,000 on. All but the first take the white space after them (rstrip).
_PHI3_SPECIAL = (
    "<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|placeholder3|>", "<|placeholder4|>",
    "<|system|>", "<|end|>", "<|placeholder5|>", "<|placeholder6|>", "<|user|>",
)  # fmt: skip


def make_phi(folder: Path, shape: Shape) -> Path:
    """Write the model with random bf16 weights, and its tokenizer; return `folder`."""
    import torch
    from transformers import AutoTokenizer, GenerationConfig, Phi3Config, Phi3ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    if shape == "phi4-mini":
        _write_tokenizer(folder, _FAMILIES["phi4"], LONG)
        _edit(folder / "tokenizer_config.json", pad_token="<|endoftext|>")
    else:
        write_phi3_tokenizer(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.convert_tokens_to_ids
    eos = ids("<|endoftext|>")
    special: dict[str, Any] = {
        "bos_token_id": eos if shape == "phi4-mini" else ids("<s>"),
        "eos_token_id": eos,
        "pad_token_id": eos,  # as published: the preparation has to find another
    }
    config = Phi3Config(
        vocab_size=len(tokenizer) + 7,  # published vocabularies are padded
        hidden_size=4 * HEAD,
        intermediate_size=8 * HEAD,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.2,  # wide enough that an adapter alone can make the output layer sure of a token
        dtype="bfloat16",
        **special,
        **_positions(shape),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Phi3ForCausalLM(config).to(torch.bfloat16)
    stops = {
        "phi3-mini-4k": [eos, ids("<|assistant|>"), ids("<|end|>")],
        "phi35-mini": [ids("<|end|>"), ids("<|assistant|>"), eos],
        "phi4-mini": [ids("<|end|>"), eos],
    }
    model.generation_config = GenerationConfig(**{**special, "eos_token_id": stops[shape]})
    _save_quietly(model, folder)
    _as_published(folder / "config.json", shape)
    return folder


def _as_published(path: Path, shape: Shape) -> None:
    """Name the number format, and the factors of longrope, by the keys of the time of publication."""
    config = json.loads(path.read_text(encoding="utf-8"))
    rope = config.pop("rope_parameters")
    factors = {name: rope[name] for name in ("short_factor", "long_factor") if name in rope}
    config |= {
        "torch_dtype": config.pop("dtype"),
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "longrope", **factors} if factors else None,
        "original_max_position_embeddings": ORIGINAL,
        "partial_rotary_factor": rope.get("partial_rotary_factor", 1.0),
    }
    assert shape == "phi3-mini-4k" or len(factors) == 2
    path.write_text(json.dumps(config), encoding="utf-8")


def _positions(shape: Shape) -> dict[str, Any]:
    if shape == "phi3-mini-4k":
        return {
            "num_key_value_heads": 4,
            "max_position_embeddings": ORIGINAL,
            "original_max_position_embeddings": ORIGINAL,
            "sliding_window": WINDOW,
            "tie_word_embeddings": False,
        }
    partial = 0.75 if shape == "phi4-mini" else 1.0
    pairs = int(HEAD * partial) // 2
    return {
        "num_key_value_heads": 2 if shape == "phi4-mini" else 4,
        "max_position_embeddings": LONG,
        "original_max_position_embeddings": ORIGINAL,
        "sliding_window": 2 * LONG,
        "tie_word_embeddings": shape == "phi4-mini",
        "partial_rotary_factor": partial,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "partial_rotary_factor": partial,
            "original_max_position_embeddings": ORIGINAL,
            "short_factor": [1.0 + 0.05 * i for i in range(pairs)],
            "long_factor": [1.0 + 4.0 * i for i in range(pairs)],
        },
    }


def write_phi3_tokenizer(folder: Path) -> None:
    """A tokenizer converted from SentencePiece, as Phi-3's: spaces are ▁, unknown characters are bytes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Metaspace()
    learned.train_from_iterator([_TEXT], trainers.BpeTrainer(vocab_size=300, show_progress=False))
    model = json.loads(learned.to_str())["model"]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = [*first, *sorted(model["vocab"], key=model["vocab"].get)]
    known = set(model["vocab"])
    # As transformers converts SentencePiece's pieces: every way to make a piece of two, in the order of the pieces.
    merges = [
        (piece[:at], piece[at:])
        for piece in pieces[len(first) :]
        for at in range(1, len(piece))
        if {piece[:at], piece[at:]} <= known
    ]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken("<unk>", normalized=False), AddedToken("<s>", normalized=False)])
    tokenizer.add_tokens([AddedToken("</s>", normalized=False, rstrip=True)])
    tokenizer.add_special_tokens(
        [AddedToken(each, normalized=False, rstrip=each != "<|endoftext|>") for each in _PHI3_SPECIAL]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "model_max_length": LONG,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(_FAMILIES["phi3"].template, encoding="utf-8")


def _edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")
