"""QLoRA ends in a model of plain weights in the base's number format: a stand-in has the layers of 4 bits.

The stand-in rounds weights to sixteen values a row, and refuses what transformers refuses of a quantised model. With
bitsandbytes 0.50.2 on a CPU the same path was run by hand; no test needs it installed.
"""

import gc
import json
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from training_code import machine, merging, model
from training_code.errors import TrainingRefused
from training_code.settings import Settings, build

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
Make = Callable[..., Settings]
Run = Callable[[Settings], tuple[dict[str, Any], list[str]]]
DOWN = "layers.0.mlp.down_proj"


class InFourBits(nn.Linear):
    """A linear layer whose weights are rounded to sixteen values a row."""

    @classmethod
    def of(cls, layer: nn.Linear) -> "InFourBits":
        made = cls(layer.in_features, layer.out_features, bias=False, dtype=layer.weight.dtype)
        scale = layer.weight.abs().amax(dim=1, keepdim=True) / 7.5
        made.weight = nn.Parameter(((layer.weight / scale - 0.5).round() + 0.5) * scale, requires_grad=False)
        return made


@pytest.fixture
def quantised(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The models that were loaded in 4 bits, as weak references; the machine is said to be able to."""
    loaded: list[Any] = []

    def load(folder: Path, options: Mapping[str, Any]) -> Any:
        from transformers import AutoModelForCausalLM
        from transformers.utils.quantization_config import QuantizationMethod

        made: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
        for path, layer in list(made.named_modules()):
            if isinstance(layer, nn.Linear) and "proj" in path:
                parent, _, name = path.rpartition(".")
                setattr(made.get_submodule(parent), name, InFourBits.of(layer))
        made.is_loaded_in_8bit = made.is_quantized = True  # trl does the same for both; 4 needs bitsandbytes to count
        made.hf_quantizer = SimpleNamespace(is_trainable=True, is_compileable=False)
        made.quantization_method = QuantizationMethod.BITS_AND_BYTES
        with pytest.raises(ValueError, match="is not supported for"):
            made.float()
        loaded.append(weakref.ref(made))
        return made

    monkeypatch.setattr(model, "load_quantised", load)
    monkeypatch.setattr(machine, "refuse_what_is_missing", lambda settings: None)
    return loaded


@pytest.fixture
def base(tiny: Any, tmp_path: Path) -> Path:
    """A tiny Phi-3 in bf16."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(tiny("phi3"), dtype=torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        (folder / name).write_bytes((tiny("phi3") / name).read_bytes())
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(next(folder.glob("*.safetensors")))


@pytest.mark.parametrize("given", [{}, {"use_rslora": True}], ids=["lora", "rslora"])
def test_the_published_model_is_the_base_in_its_own_precision_with_the_adapter_in_its_weights(
    quantised: list[Any], base: Path, settings: Make, train: Run, tmp_path: Path, given: dict[str, Any]
):
    made = settings(method="qlora", base_model=base, precision="bf16", learning_rate=1e-2, **given)
    report, _ = train(made)

    assert len(quantised) == 1
    before, after = tensors(base), tensors(tmp_path / "out" / "model")
    adapter = tensors(tmp_path / "out" / "adapter")
    assert before.keys() == after.keys()
    assert {each.dtype for each in after.values()} == {torch.bfloat16}
    assert {each.dtype for each in adapter.values()} == {torch.float32}
    down, up = (adapter[f"base_model.model.model.{DOWN}.lora_{side}.weight"] for side in "AB")
    scale = 32 / 2 if given else 32 / 4  # rank 4
    expected = (before[f"model.{DOWN}.weight"].float() + scale * up @ down).bfloat16()
    assert up.abs().max() > 0
    assert after[f"model.{DOWN}.weight"].equal(expected)
    assert report["merge"]["largest_logit_difference"] < 1e-4
    assert report["quantisation"]["largest_logit_difference"] > 1e-4  # what 4 bits changed, for information
    assert "quantization_config" not in json.loads((tmp_path / "out" / "model" / "config.json").read_text())


def test_the_4_bit_model_is_gone_before_the_base_is_loaded_again(
    quantised: list[Any], base: Path, settings: Make, train: Run, monkeypatch: pytest.MonkeyPatch
):
    alive: list[bool] = []
    load = merging.on_whole_base

    def look(*given: Any) -> Any:
        gc.collect()
        alive.append(quantised[0]() is not None)
        return load(*given)

    monkeypatch.setattr(merging, "on_whole_base", look)
    train(settings(method="qlora", base_model=base, precision="bf16", epochs=1))

    assert alive == [False]


def test_the_adapter_of_a_quantised_model_is_trained_in_fp32(
    quantised: list[Any], base: Path, settings: Make, monkeypatch: pytest.MonkeyPatch
):
    from tests.unit.training_code.test_loss import trainer_for

    trainer = trainer_for(settings(method="qlora", base_model=base, precision="bf16"))

    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
    assert len(quantised) == 1


@pytest.mark.parametrize(
    "given", [{"use_dora": True}, {"use_rslora": True, "packing": False, "neftune_noise_alpha": 5}]
)
def test_variants_of_lora_merge_exactly(settings: Make, train: Run, tmp_path: Path, given: dict[str, Any]):
    report, _ = train(settings(learning_rate=1e-2, **given))

    assert report["merge"]["largest_logit_difference"] < 1e-4
    assert report["losses"][-1]["loss"] < report["losses"][0]["loss"]
    names = tensors(tmp_path / "out" / "adapter").keys()
    assert any("magnitude" in name for name in names) == ("use_dora" in given)
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert (config["use_dora"], config["use_rslora"]) == ("use_dora" in given, "use_rslora" in given)


def test_noise_on_the_embeddings_changes_training_and_not_what_is_replayed(settings: Make, tmp_path: Path):
    from transformers.integrations.neftune import activate_neftune

    from tests.unit.training_code.conftest import conversations, write_jsonl
    from tests.unit.training_code.test_replay import trainer_for

    replay = write_jsonl(tmp_path / "replay.jsonl", conversations(4, seed=7))
    trainer: Any = trainer_for(
        settings(packing=False, neftune_noise_alpha=5, replay_file=replay, replay_share=0.3, method="lora")
    )
    batch = trainer.data_collator([trainer.train_dataset[0]])
    trainer.model.train()
    assert trainer.args.neftune_noise_alpha == 5
    activate_neftune(trainer.model, 5)
    places = batch["labels"][:, 1:] != -100
    seen = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

    one, two = (trainer.base_logits(seen, places) for _ in range(2))
    assert one.equal(two)
    assert trainer.model.training
    assert not trainer.compute_loss(trainer.model, dict(batch)).equal(trainer.compute_loss(trainer.model, dict(batch)))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"method": "full", "use_dora": True}, "use_dora changes an adapter, and method = full trains none"),
        ({"method": "full", "use_rslora": True}, "use_rslora changes an adapter"),
        ({"method": "qlora", "use_dora": True}, "use_dora with method = qlora .*: use lora"),
        ({"neftune_noise_alpha": 5}, "neftune_noise_alpha .* set packing to false"),
        ({"neftune_noise_alpha": 0}, "neftune_noise_alpha is 0"),
    ],
)
def test_what_can_not_be_made_right_is_refused_when_the_settings_are_read(given: dict[str, Any], says: str):
    nowhere = dict.fromkeys(("base_model", "train_file", "validation_file", "output_dir"), ".")
    with pytest.raises(TrainingRefused, match=says):
        build({**nowhere, **given}, "a test")
