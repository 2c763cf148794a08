"""Writes the folder of a quantised model: its graph, and the full model's tokenizer and configuration."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from evaluation_code.inputs import Message
from quantization_code.blocks import Bits
from quantization_code.errors import CannotQuantize
from quantization_code.graph import build, refuse_unknown
from quantization_code.smoothing import smoothing_scales
from quantization_code.weights import Weights
from serving_code.model_folder import ONNX_GRAPH, context_length

WEIGHTS = f"{ONNX_GRAPH}.data"
COPIED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def write(model: Path, to: Path, bits: Bits, conversations: Sequence[Sequence[Message]] = ()) -> None:
    """Quantise the model of a folder into the folder `to`, which is made. Raises CannotQuantize.

    On the conversations the spread of its activations is measured; they are not those that it is judged by.
    """
    import onnx
    from transformers import AutoConfig

    if not (model / "config.json").is_file():
        raise CannotQuantize(f"{model} has no config.json; give the folder of a trained model")
    config = AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    refuse_unknown(config)
    scales = smoothing_scales(model, conversations)
    proto = build(config, Weights(model), bits, context_length(config), scales)
    to.mkdir(parents=True, exist_ok=True)
    (to / WEIGHTS).unlink(missing_ok=True)  # onnx appends to it
    onnx.save_model(proto, to / ONNX_GRAPH, save_as_external_data=True, location=WEIGHTS, size_threshold=1024)
    for name in COPIED:
        if (model / name).is_file():
            shutil.copyfile(model / name, to / name)
