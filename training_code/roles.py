"""The modules of a model by their role, whatever its architecture calls them: attention, mlp, embeddings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import TrainingRefused

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

ROLES = ("attention", "mlp", "embeddings")
# The classes of transformers: Phi3Attention, GPT2MLP, OlmoeSparseMoeBlock, DistilBert's FFN.
CLASSES = {"attention": re.compile("Attention"), "mlp": re.compile("MLP|FeedForward|FFN|Mlp|Moe|MoE")}


def modules_named(model: PreTrainedModel, name: str, setting: str) -> dict[str, nn.Module]:
    """The modules of a role, or those whose path ends in `name`, by path. Raises TrainingRefused when there are none.

    Of modules inside each other, only the outermost. `setting` is named in the error.
    """
    if name == "embeddings":
        its = {id(each) for each in (model.get_input_embeddings(), model.get_output_embeddings())}
        return {path: module for path, module in model.named_modules() if id(module) in its}
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        if name in CLASSES:
            fits = path and CLASSES[name].search(type(module).__name__)
        else:
            fits = path.rpartition(".")[2] == name
        if fits and not any(path.startswith(f"{outer}.") for outer in found):
            found[path] = module
    if not found:
        what = f"has no {name} that is recognised" if name in CLASSES else f"has no layer {name}"
        raise TrainingRefused(f"{setting}: the model {what}; {choices(model)}")
    return found


def choices(model: PreTrainedModel) -> str:
    """What a setting may name in this model."""
    return f"it has {', '.join(sorted(set(map(last, inner_layers(model)))))}"


def linear_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The layers that an adapter can be attached to, by path; quantised ones too."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return {path: each for path, each in module.named_modules() if isinstance(each, (nn.Linear, Conv1D))}


def inner_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The linear layers without the output layer, by path."""
    output = model.get_output_embeddings()
    return {path: each for path, each in linear_layers(model).items() if each is not output}


def adapter_targets(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    """The layers that get an adapter, by their last names, or by whole paths where other layers share those names.

    Raises TrainingRefused for a role or a name that is not in the model.
    """
    wanted: list[str] = []
    for name in names:
        for path, module in modules_named(model, name, "lora_targets").items():
            if module in (model.get_input_embeddings(), model.get_output_embeddings()):
                raise TrainingRefused(f"lora_targets: {name}: embeddings get no adapter; {choices(model)}")
            inner = [f"{path}.{each}" if each else path for each in linear_layers(module)]
            if any(each.dim() > 2 for each in module.parameters()):
                raise TrainingRefused(
                    f"lora_targets: {path} holds experts in one tensor, which get no adapter: name attention only"
                )
            wanted += inner
    ends = {last(path) for path in wanted}
    same_ends = [path for path in inner_layers(model) if last(path) in ends]
    return sorted(ends) if len(same_ends) == len(set(wanted)) else sorted(set(wanted))


def last(path: str) -> str:
    return path.rpartition(".")[2]
