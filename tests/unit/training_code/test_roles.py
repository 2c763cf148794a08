"""What is frozen, and what gets an adapter, is found by role in whatever architecture the base model has."""

from typing import Any

import pytest

from training_code.errors import TrainingRefused
from training_code.model import freeze
from training_code.roles import adapter_targets, modules_named

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own
SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
GPT = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
KINDS: dict[str, dict[str, Any]] = {
    "phi3": SMALL,
    "llama": SMALL,
    "qwen3": {**SMALL, "head_dim": 8},
    "gemma2": {**SMALL, "head_dim": 8},
    "gpt_neox": {**SMALL, "tie_word_embeddings": True},
    "gpt2": GPT,
    "mixtral": {**SMALL, "num_local_experts": 2},
    "opt": {**SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64},
}
# kind: layers of attention, layers of the MLP
LAYERS = {
    "phi3": ("o_proj qkv_proj", "down_proj gate_up_proj"),
    "llama": ("k_proj o_proj q_proj v_proj", "down_proj gate_proj up_proj"),
    "qwen3": ("k_proj o_proj q_proj v_proj", "down_proj gate_proj up_proj"),
    "gemma2": ("k_proj o_proj q_proj v_proj", "down_proj gate_proj up_proj"),
    "gpt_neox": ("dense query_key_value", "dense_4h_to_h dense_h_to_4h"),
}


def model_of(kind: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **KINDS[kind]))


@pytest.mark.parametrize("kind", LAYERS)
def test_attention_and_mlp_get_an_adapter_whatever_their_layers_are_called(kind: str):
    model = model_of(kind)
    attention, mlp = LAYERS[kind]

    assert adapter_targets(model, ["attention"]) == attention.split()
    assert adapter_targets(model, ["mlp"]) == mlp.split()
    assert adapter_targets(model, ["attention", "mlp"]) == sorted(f"{attention} {mlp}".split())


def test_layers_of_two_roles_with_one_name_are_named_by_their_whole_paths():
    """GPT-2 calls a layer of the attention and one of the MLP c_proj."""
    from peft import LoraConfig, get_peft_model

    model = model_of("gpt2")
    targets = adapter_targets(model, ["mlp"])

    assert targets == [f"transformer.h.{n}.mlp.{name}" for n in (0, 1) for name in ("c_fc", "c_proj")]
    adapted = get_peft_model(model, LoraConfig(target_modules=targets, fan_in_fan_out=True))
    assert not any("attn" in name for name, each in adapted.named_parameters() if each.requires_grad)


@pytest.mark.parametrize("kind", [*LAYERS, "gpt2"])
def test_with_attention_and_embeddings_frozen_the_rest_is_trained(kind: str):
    model = model_of(kind)
    freeze(model, ["embeddings", "attention"])

    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    frozen = {name for name, each in model.named_parameters()} - trained
    assert any("mlp" in name for name in trained)
    assert not any("mlp" in name for name in frozen)
    assert not model.get_input_embeddings().weight.requires_grad
    assert not model.get_output_embeddings().weight.requires_grad
    inside = [name for path in modules_named(model, "attention", "") for name in frozen if name.startswith(f"{path}.")]
    assert len(inside) >= 4


@pytest.mark.parametrize(
    ("kind", "names", "says"),
    [
        ("mixtral", ["mlp"], "holds experts in one tensor, which get no adapter: name attention only"),
        ("opt", ["mlp"], "the model has no mlp that is recognised; it has fc1, fc2, k_proj, out_proj, q_proj, v_proj"),
        ("llama", ["embeddings"], "embeddings get no adapter"),
        ("llama", ["lm_head"], "embeddings get no adapter"),
        ("llama", ["qkv_proj"], "the model has no layer qkv_proj; it has down_proj, gate_proj, k_proj"),
    ],
)
def test_what_gets_no_adapter_is_refused_with_what_there_is(kind: str, names: list[str], says: str):
    with pytest.raises(TrainingRefused, match=says):
        adapter_targets(model_of(kind), names)


def test_names_of_layers_are_taken_as_before():
    model = model_of("opt")

    assert adapter_targets(model, ["fc1", "attention"]) == ["fc1", "k_proj", "out_proj", "q_proj", "v_proj"]
    assert adapter_targets(model_of("mixtral"), ["attention"]) == ["k_proj", "o_proj", "q_proj", "v_proj"]
