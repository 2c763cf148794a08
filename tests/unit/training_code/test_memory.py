"""The memory of a step by formula, against torch's count of every tensor at the dimensions of Phi-3.5-mini."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from transformers import Phi3Config, Phi3ForCausalLM

from training_code import memory
from training_code.memory import Shape
from training_code.settings import Settings, build, read_preset

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
ALL_LAYERS = (pytest.mark.long, pytest.mark.timeout(1200))
PHI = Shape(layers=32, hidden=3072, intermediate=8192, vocabulary=32_064)


class Tracker(MemTracker):
    """MemTracker for a model with frozen weights, on which torch's own cannot set its hooks."""

    def _track_module_params_and_buffers(self, module: nn.Module, install_grad_hooks: bool = True) -> tuple[int, int]:
        return super()._track_module_params_and_buffers(module, install_grad_hooks=False)


def made(settings: Settings, shape: Shape) -> Any:
    """A Phi-3 of these dimensions without memory for its weights, prepared as the trainer does."""
    config = Phi3Config(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=32,
        num_key_value_heads=32,
        vocab_size=shape.vocabulary,
        pad_token_id=0,
    )
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        model: Any = Phi3ForCausalLM(config)
        if settings.precision == "bf16":
            model = model.bfloat16()
        if settings.method == "full":
            model.get_input_embeddings().weight.requires_grad_(False)
            model.get_output_embeddings().weight.requires_grad_(False)
        else:
            from peft import get_peft_model

            from training_code.model import adapter_config

            model = get_peft_model(model, adapter_config(settings, model))  # type: ignore[arg-type]
            model.enable_input_require_grads()
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return model.train()


def counted(settings: Settings, shape: Shape, tokens: int) -> tuple[int, int, int]:
    """Weights without an adapter's, trained weights, and bytes at the fullest moment of a second step."""
    model = made(settings, shape)
    with FakeTensorMode():
        for module in model.modules():
            for name, each in module.named_parameters(recurse=False):
                is_adapter = each.requires_grad and settings.method != "full"
                held = torch.empty(each.shape, dtype=torch.float32 if is_adapter else each.dtype)
                setattr(module, name, nn.Parameter(held, requires_grad=each.requires_grad))
            for name, each in module.named_buffers(recurse=False):
                setattr(module, name, torch.empty(each.shape, dtype=each.dtype))
        learned = [each for each in model.parameters() if each.requires_grad]
        trained = sum(each.numel() for each in learned)
        weights = sum(each.numel() for each in model.parameters()) - (0 if settings.method == "full" else trained)
        moments = [torch.zeros_like(each) for each in learned for _ in range(memory.MOMENTS)]
        ids, positions = torch.randint(0, 9, (1, tokens)), torch.arange(tokens)[None]
        tracker = Tracker()
        tracker.track_external(model, *moments)
        with tracker:
            # The second pass has the gradients of the first beside it; an adapter's are too small to matter.
            for _ in range(min(2, settings.accumulation) if settings.method == "full" else 1):
                with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16-autocast"):
                    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
                nn.functional.cross_entropy(logits.float(), ids[0], reduction="sum").backward()
                del logits
                tracker.reset_mod_stats()
        peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    return weights, trained, peak["Total"]


def of_preset(name: str, **changes: Any) -> Settings:
    nowhere = dict.fromkeys(("base_model", "train_file", "validation_file", "output_dir"), ".")
    return build({**read_preset(name), **nowhere, **changes}, name)


@pytest.mark.parametrize(
    ("preset", "layers", "changes"),
    [
        ("phi35-lora", 3, {}),
        ("phi35-lora", 3, {"gradient_checkpointing": False}),
        ("phi35-full", 3, {}),
        ("phi35-full", 3, {"gradient_checkpointing": False, "accumulation": 1}),
        pytest.param("phi35-lora", 32, {}, marks=ALL_LAYERS),
        pytest.param("phi35-full", 32, {}, marks=ALL_LAYERS),
    ],
)
def test_the_formula_is_within_a_tenth_of_every_tensor_counted(preset: str, layers: int, changes: dict[str, Any]):
    made = of_preset(preset, **changes)
    shape = dataclasses.replace(PHI, layers=layers)
    weights, trained, found = counted(made, shape, made.packed_length)

    assert memory.peak_bytes(made, shape, weights, trained, made.packed_length) == pytest.approx(found, rel=0.1)


def test_the_dimensions_are_those_of_the_models_config(tiny: Callable[[], Path], tmp_path: Path):
    assert memory.shape_of(tiny()) == Shape(layers=2, hidden=64, intermediate=128, vocabulary=512)
    (tmp_path / "config.json").write_text('{"n_embd": 768}')
    assert memory.shape_of(tmp_path) is None


@pytest.mark.parametrize(("save_seconds", "minutes"), [(45, 37), (300, 37), (3600, 60)])
def test_a_checkpoint_of_44_gb_is_not_written_every_minute(save_seconds: float, minutes: int):
    full = of_preset("phi35-full", save_seconds=save_seconds)
    checkpoint = memory.checkpoint_bytes(full, 3_821_079_552, 3_624_078_336)

    assert checkpoint == pytest.approx(44e9, rel=0.01)
    assert memory.seconds_between(full, checkpoint) == pytest.approx(60 * minutes, rel=0.01)


def test_a_small_checkpoint_is_written_when_the_settings_say():
    laptop = of_preset("laptop")
    assert memory.seconds_between(laptop, memory.checkpoint_bytes(laptop, 134_515_008, 50_000_000)) == 45
