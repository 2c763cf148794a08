"""Loads a model and its tokenizer from a folder without executing anything in the folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serving_code.safety import UnreadableModel, UnsafeModel, refuse_unsafe

if TYPE_CHECKING:
    import torch

__all__ = ["DType", "LoadedModel", "UnsafeModel", "UnusableModel", "context_length", "end_ids", "load_model_folder"]

DType = Literal["auto", "bfloat16", "float32"]
ONNX_GRAPH = "model.onnx"
"""The file of a folder whose model runs in onnxruntime, with quantised weights."""


class UnusableModel(ValueError):
    """The folder is not a complete causal language model with a chat template."""


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model ready for inference, its tokenizer, end token ids and context length."""

    model: Any
    tokenizer: Any
    end_ids: frozenset[int]
    context_length: int
    device: torch.device

    @property
    def vocabulary(self) -> int:
        """The number of tokens that the model knows."""
        return self.model.config.vocab_size


def load_model_folder(folder: Path, dtype: DType = "auto") -> LoadedModel:
    """Load a Hugging Face model folder for inference, from local files only.

    Raises UnsafeModel or UnusableModel with the file at fault.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise UnusableModel(f"{folder} has no config.json; give the folder of a Hugging Face model")
    try:
        refuse_unsafe(folder)
    except UnreadableModel as e:
        raise UnusableModel(str(e)) from e
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, clean_up_tokenization_spaces=False)
    if not tokenizer.chat_template:
        raise UnusableModel(f"{folder} has no chat template; add chat_template.jinja of the model's family")
    if (folder / ONNX_GRAPH).is_file():
        return _load_graph(folder, tokenizer)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=_torch_dtype(dtype, device), local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    torch.nn.Module.to(model, device).eval()
    return LoadedModel(model, tokenizer, end_ids(model, tokenizer), context_length(model.config), device)


def _load_graph(folder: Path, tokenizer: Any) -> LoadedModel:
    import torch
    from transformers import AutoConfig, GenerationConfig

    from serving_code.onnx_model import NoRuntime, OnnxModel

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    try:
        model = OnnxModel(folder / ONNX_GRAPH, config)
    except NoRuntime as e:
        raise UnusableModel(str(e)) from e
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return LoadedModel(model, tokenizer, end_ids(model, tokenizer), context_length(config), torch.device("cpu"))


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token id that ends an answer: the Phi-3 family has several (generation_config), the tokenizer names one."""
    ids: set[int] = set()
    for source in (getattr(model, "generation_config", None), model.config):
        value = getattr(source, "eos_token_id", None)
        ids.update([value] if isinstance(value, int) else value or ())
        if ids:
            break
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    return frozenset(ids)


def context_length(config: Any) -> int:
    """Maximum tokens of prompt and answer together.

    A longrope model (Phi-3.5 with 128k) changes its rotary factors when any row of a batch exceeds the original length,
    which would change the other rows' answers and invalidate the cache: it is limited to the original length.
    """
    longest = int(config.max_position_embeddings)
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if "longrope" in (rope.get("rope_type"), rope.get("type")):
        original = rope.get("original_max_position_embeddings") or getattr(
            config, "original_max_position_embeddings", longest
        )
        return min(longest, int(original))
    return longest


def _torch_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    import torch

    if dtype != "auto":
        return torch.bfloat16 if dtype == "bfloat16" else torch.float32
    # A processor without bfloat16 instructions emulates them, at a fraction of fp32's speed.
    fast = device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
