"""Random two-layer Phi-3 models with the tokenizer and chat template of a real family, small enough for any test."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Family = Literal["smollm2", "phi3", "phi4"]

VOCABULARY = 512
CONTEXT_LENGTH = 2048


@dataclass(frozen=True)
class _Family:
    """The differences between families: special tokens in order of id, the role of each, and the chat template."""

    special_tokens: tuple[str, ...]
    bos: str
    eos: str
    pad: str
    stops: tuple[str, ...]
    template: str


# The shapes are the published ones: SmolLM2 inserts a system turn of its own, Phi-3 ends each turn with a newline
# and a conversation with its eos, Phi-4 has no newlines.
_FAMILIES: dict[str, _Family] = {
    "smollm2": _Family(
        special_tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos="<|im_start|>",
        eos="<|im_end|>",
        pad="<|endoftext|>",
        stops=("<|im_end|>",),
        template="{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ),
    "phi3": _Family(
        special_tokens=("<unk>", "<s>", "</s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        bos="<s>",
        eos="<|endoftext|>",
        pad="<unk>",
        stops=("<|endoftext|>", "<|end|>"),
        template="{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    ),
    "phi4": _Family(
        special_tokens=("<|endoftext|>", "<|endofprompt|>", "<|assistant|>", "<|end|>", "<|user|>", "<|system|>"),
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        pad="<|endofprompt|>",
        stops=("<|endoftext|>", "<|end|>"),
        template="{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
    ),
}

# Enough English for merges of common words; other text is encoded as bytes.
_TEXT = (
    "The pump stops when the lamp is red. Press the button for five seconds and the lamp turns green again. "
    "How do I reset the pump? What is the capital of France? Who wrote the manual, and where is it kept? "
    "You can find it in the box. I am sorry that it does not work. Please tell me more about the problem. "
    "It takes 12 minutes; the warranty lasts 24 months. Thank you, that helped a lot! Is there anything else? "
    "First unplug the charger, then hold both switches until the display shows a battery. Which filter fits the hose "
    "of the garden pump? Our engineers recommend cleaning it every spring, because sand blocks the valve quickly. "
)


def make_tiny_phi3(
    folder: Path,
    *,
    vocab_from: Path | None = None,
    family: Family = "smollm2",
    seed: int = 0,
    context_length: int = CONTEXT_LENGTH,
) -> Path:
    """Write a Phi3ForCausalLM (2 layers, hidden size 64) with random weights and a tokenizer; return ``folder``.

    The tokenizer is a byte-level BPE of 512 tokens with the special tokens and the chat template of ``family``, or,
    with ``vocab_from``, the one of that model folder. Equal arguments give equal files. About 0.3 s after imports.
    """
    import torch
    from transformers import AutoTokenizer, GenerationConfig, Phi3Config, Phi3ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    if vocab_from is None:
        _write_tokenizer(folder, _FAMILIES[family], context_length)
    else:
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (folder / name).write_bytes((vocab_from / name).read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stops = _stop_ids(tokenizer, family, vocab_from)
    special: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_length,
        original_max_position_embeddings=context_length,
        tie_word_embeddings=True,
        dtype="float32",
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Phi3ForCausalLM(config)
    model.generation_config = GenerationConfig(**{**special, "eos_token_id": stops if len(stops) > 1 else stops[0]})
    _save_quietly(model, folder)
    return folder


def _stop_ids(tokenizer: Any, family: Family, vocab_from: Path | None) -> list[int]:
    if vocab_from is None:
        return [tokenizer.convert_tokens_to_ids(stop) for stop in _FAMILIES[family].stops]
    listed = json.loads((vocab_from / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    return listed if isinstance(listed, list) else [listed]


def _write_tokenizer(folder: Path, family: _Family, context_length: int) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(family.special_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": family.bos,
        "eos_token": family.eos,
        "pad_token": family.pad,
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(family.template, encoding="utf-8")


def _save_quietly(model: Any, folder: Path) -> None:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.save_pretrained(folder)
    finally:
        if shown:
            logging.enable_progress_bar()
