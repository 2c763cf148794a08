"""Loads the base model and its tokenizer for training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import TrainingRefused
from .roles import adapter_targets, modules_named
from .settings import Settings

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. Raises TrainingRefused when it is unsuitable for training."""
    from transformers import AutoTokenizer

    if not (folder / "config.json").is_file():
        raise TrainingRefused(f"{folder} is not a model folder: it has no config.json")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise TrainingRefused(f"{folder} has no fast tokenizer (tokenizer.json)")
    if not tokenizer.chat_template:
        raise TrainingRefused(f"{folder} has no chat template: put chat_template.jinja next to its config.json")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in stop_ids(folder, tokenizer):
        # Padding is excluded from the loss: a pad token that also ends a turn would never be learnt as an end.
        raise TrainingRefused(f"{folder} pads with {tokenizer.pad_token!r}; the pad token must not be an end token")
    return tokenizer


def stop_ids(folder: Path, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The token ids that end a generation of the model in `folder`."""
    path = folder / "generation_config.json"
    ids: Any = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
    if ids is None:
        ids = tokenizer.eos_token_id
    return {int(i) for i in (ids if isinstance(ids, list) else [ids]) if i is not None}


def context_length(folder: Path) -> int | None:
    """The most tokens that the model in `folder` reads, by its config; None when the config does not say."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for each in (config, config.get("text_config") or {}):
        if isinstance(each.get("max_position_embeddings"), int):
            return each["max_position_embeddings"]
    return None


def load_model(settings: Settings) -> PreTrainedModel:
    """The base model in the precision of the settings. Raises TrainingRefused."""
    import torch
    from transformers import AutoModelForCausalLM, logging

    if not list(settings.base_model.glob("*.safetensors")):
        raise TrainingRefused(f"{settings.base_model} has no safetensors weights")
    # In a log file, a progress bar would repeat the log lines.
    logging.disable_progress_bar()
    options: dict[str, Any] = {
        "dtype": torch.bfloat16 if settings.precision == "bf16" or settings.method == "qlora" else torch.float32,
        "attn_implementation": attention_of(settings),
        "local_files_only": True,
        "use_safetensors": True,
    }
    try:
        if settings.method == "qlora":
            model = load_quantised(settings.base_model, options)
        else:
            model = AutoModelForCausalLM.from_pretrained(settings.base_model, **options)
    except (ImportError, ValueError) as e:
        raise TrainingRefused(f"attention = {settings.attention}: {e}") from e
    if settings.attention == "sdpa" and not getattr(model, "_supports_sdpa", True):
        # The attention for packed rows would leave out what sdpa can't do, such as Gemma 2's cap of the scores.
        raise TrainingRefused(f"attention = sdpa: {type(model).__name__} does not support it: set attention to eager")
    if settings.method == "full":  # with an adapter, peft freezes all other weights
        freeze(model, settings.frozen)
    return model


def load_quantised(folder: Path, options: Mapping[str, Any]) -> PreTrainedModel:
    """The model in `folder` with 4-bit weights in its linear layers. Needs bitsandbytes."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=four_bit(), **options)


def freeze(model: PreTrainedModel, names: Sequence[str]) -> None:
    """Exclude modules from training, by role or name. Raises TrainingRefused for one that the model does not have."""
    for name in names:
        for module in modules_named(model, name, "frozen").values():
            module.requires_grad_(False)


def attention_of(settings: Settings) -> str:
    """The attention implementation of the settings; on a CPU, packed rows use the one in attention.py."""
    import torch

    if settings.attention == "sdpa" and settings.packing and not torch.cuda.is_available():
        from . import attention

        return attention.register()
    return settings.attention


def four_bit() -> Any:
    """The quantisation settings of QLoRA (arXiv 2305.14314)."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def adapter_config(settings: Settings, model: PreTrainedModel) -> LoraConfig | None:
    """The adapter configuration of the settings; None for a full fine-tune. Raises TrainingRefused."""
    if settings.method == "full":
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]  # annotated as int in peft, which accepts any number
        lora_dropout=settings.lora_dropout,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_modules=adapter_targets(model, settings.lora_targets),
        task_type="CAUSAL_LM",
    )
