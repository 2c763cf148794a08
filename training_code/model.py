"""The base model and its tokenizer, ready to be trained."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import TrainingRefused
from .settings import Settings

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. Raises TrainingRefused when it cannot make training rows."""
    from transformers import AutoTokenizer

    if not (folder / "config.json").is_file():
        raise TrainingRefused(f"{folder} is not a model folder: it has no config.json")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise TrainingRefused(f"{folder} has no fast tokenizer (tokenizer.json)")
    if not tokenizer.chat_template:
        raise TrainingRefused(f"{folder} has no chat template: put chat_template.jinja beside its config.json")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in stop_ids(folder, tokenizer):
        # Padding is left out of the loss, so a pad that is also an end token would never be learnt as an end.
        raise TrainingRefused(f"{folder} pads with {tokenizer.pad_token!r}; pad must be a token that ends nothing")
    return tokenizer


def stop_ids(folder: Path, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The token ids at which generation with the model in `folder` ends."""
    path = folder / "generation_config.json"
    found: Any = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
    if found is None:
        found = tokenizer.eos_token_id
    return {int(i) for i in (found if isinstance(found, list) else [found]) if i is not None}


def load_model(settings: Settings) -> PreTrainedModel:
    """The base model in the precision of the settings. Raises TrainingRefused."""
    import torch
    from transformers import AutoModelForCausalLM, logging

    if not list(settings.base_model.glob("*.safetensors")):
        raise TrainingRefused(f"{settings.base_model} has no safetensors weights")
    options: dict[str, Any] = {}
    if settings.method == "qlora":
        options["quantization_config"] = four_bit()
    # The bar would repeat in a log file what the lines already say.
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            settings.base_model,
            dtype=torch.bfloat16 if settings.precision == "bf16" or settings.method == "qlora" else torch.float32,
            attn_implementation=attention_of(settings),
            local_files_only=True,
            use_safetensors=True,
            **options,
        )
    except ImportError as e:
        raise TrainingRefused(f"attention = {settings.attention}: {e}") from e
    if settings.method == "full":  # beside an adapter nothing else is trained
        freeze(model, settings.frozen)
    return model


def freeze(model: PreTrainedModel, names: Sequence[str]) -> None:
    """No weight of the named modules is trained. Raises TrainingRefused for one that the model does not have."""
    for name in names:
        found = [module for path, module in model.named_modules() if path.rpartition(".")[2] == name]
        if not found:
            raise TrainingRefused(f"frozen: the model has no module named {name}")
        for module in found:
            module.requires_grad_(False)


def attention_of(settings: Settings) -> str:
    """The attention that the settings ask for; on a CPU, packed rows get the one that is made for them."""
    import torch

    if settings.attention == "sdpa" and settings.packing and not torch.cuda.is_available():
        from . import attention

        return attention.register()
    return settings.attention


def four_bit() -> Any:
    """The 4-bit settings of QLoRA (arXiv 2305.14314). Raises TrainingRefused on a machine that cannot run it."""
    import torch

    if not torch.cuda.is_available():
        raise TrainingRefused("method = qlora needs a CUDA GPU, and torch sees none: use lora")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise TrainingRefused("method = qlora needs bitsandbytes: pip install bitsandbytes, or use lora")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def adapter_config(settings: Settings, model: PreTrainedModel) -> LoraConfig | None:
    """The adapter that the settings ask for; None for a full fine-tune. Raises TrainingRefused."""
    if settings.method == "full":
        return None
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    absent = [target for target in settings.lora_targets if target not in names]
    if absent:
        linear = sorted(
            {n.rpartition(".")[2] for n, m in model.named_modules() if type(m).__name__.startswith("Linear")}
        )
        raise TrainingRefused(f"lora_targets: the model has no layer {', '.join(absent)}; it has {', '.join(linear)}")
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,  # type: ignore[arg-type]  # peft says int, and takes any number
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.lora_targets),
        task_type="CAUSAL_LM",
    )
