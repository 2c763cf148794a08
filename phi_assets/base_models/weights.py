"""The safetensors of a model folder: which there are, whether they are whole and fit the configuration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from phi_assets.base_models.errors import IncompleteModel
from phi_assets.base_models.safety import read_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors that make up the model in ``folder``, its index among them when it has shards.

    Raises IncompleteModel when there are none, or a shard that the index names is missing.
    """
    if (folder / INDEX).is_file():
        names = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
        missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
        if missing or not names:
            raise IncompleteModel(
                f"{folder} lacks {', '.join(missing) or 'every shard'} of {INDEX}; get the model again"
            )
        return [*names, INDEX]
    if (folder / SINGLE).is_file():
        return [SINGLE]
    raise IncompleteModel(
        f"{folder} has no {SINGLE} and no {INDEX}: weights must be safetensors; save the model with "
        f"transformers' save_pretrained, which writes them"
    )


def read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight in ``folder``. Raises IncompleteModel for a truncated or damaged file."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for name in weight_files(folder):
        if name == INDEX:
            continue
        try:
            with safe_open(folder / name, framework="numpy") as weights:
                shapes |= {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118 (no mapping)
        except SafetensorError as e:
            raise IncompleteModel(f"{folder / name} is truncated or damaged ({e}); get the model again") from e
    return shapes


def count_parameters(shapes: dict[str, tuple[int, ...]]) -> int:
    """Number of stored parameters; weights that are tied are stored, and counted, once."""
    return sum(math.prod(shape) for shape in shapes.values())


def refuse_misfit(folder: Path, shapes: dict[str, tuple[int, ...]], config: Any) -> None:
    """Every weight that a Phi-3 model of ``config`` needs is in ``shapes`` with the right shape.

    transformers would fill what is missing with random numbers and only warn. Other architectures may rename weights
    while they are loaded, so they are not looked at. Raises IncompleteModel.
    """
    if config.model_type != "phi3":
        return
    import torch
    from transformers import Phi3ForCausalLM

    with torch.device("meta"):
        expected = {name: tuple(weight.shape) for name, weight in Phi3ForCausalLM(config).state_dict().items()}
    if config.tie_word_embeddings:
        expected.pop("lm_head.weight")
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            found = f"has shape {shapes[name]}" if name in shapes else "is missing"
            raise IncompleteModel(
                f"the weight {name} in {folder} {found}, and config.json asks for shape {shape}: "
                f"the weights and config.json are not of one model"
            )
