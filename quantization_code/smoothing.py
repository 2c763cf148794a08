"""Scales that move the spread of activations into the weights before both are rounded (SmoothQuant, arXiv:2211.10438).

Activations have channels that are many times larger than their neighbours in a block, which then share few steps. Each
channel is divided by its scale and its weights are multiplied by it, so that nothing else changes and nothing slows:
the division goes into the norm before the multiplication, or into the rows of the multiplication before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation_code.inputs import Message, rendered

if TYPE_CHECKING:
    import numpy as np

# Of the activations' spread; the rest stays. The paper's value.
SHARE = 0.5
# The largest activations of a few thousand tokens are about those of any text.
MOST_TOKENS = 4_096
SMOOTHED = ("qkv_proj", "gate_up_proj", "down_proj", "lm_head")
Scales = dict[str, "np.ndarray"]


def smoothing_scales(model: Path, conversations: Sequence[Sequence[Message]]) -> Scales:
    """The scales of each channel that goes into a matrix, by the matrix's name; none without conversations."""
    import torch

    from serving_code.model_folder import load_model_folder

    if not conversations:
        return {}
    loaded = load_model_folder(model, "float32")
    names = [name for name, _ in loaded.model.named_modules() if name.rpartition(".")[2] in SMOOTHED]
    largest: dict[str, torch.Tensor] = {}

    def see(name: str) -> Any:
        def hook(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            found = inputs[0].abs().reshape(-1, inputs[0].shape[-1]).amax(0)
            largest[name] = torch.maximum(largest[name], found) if name in largest else found

        return hook

    for name in names:
        loaded.model.get_submodule(name).register_forward_pre_hook(see(name))
    read = 0
    with torch.inference_mode():
        for messages in conversations:
            text = loaded.tokenizer.apply_chat_template(rendered(messages), tokenize=False)
            ids = loaded.tokenizer(text, add_special_tokens=False).input_ids[: loaded.context_length]
            loaded.model(input_ids=torch.tensor([ids]), use_cache=False)
            read += len(ids)
            if read >= MOST_TOKENS:
                break
        return {name: _scales(largest[name], loaded.model.get_submodule(name).weight) for name in names}


def _scales(activations: Any, weight: Any) -> np.ndarray:
    """sqrt(largest activation / largest weight) of each channel."""
    import torch

    columns: Any = weight.abs().amax(0).clamp(min=1e-5)
    found: torch.Tensor = activations.clamp(min=1e-5) ** SHARE / columns ** (1 - SHARE)
    return found.float().numpy()
