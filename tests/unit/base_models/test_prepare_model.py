"""What a model folder must hold, and that its parts must be of one model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.base_models import FolderModel, IncompleteModel, resolve
from phi_assets.base_models.model_errors import UnsafeModel
from phi_assets.base_models.prepare_model import prepare_model

EditJson = Callable[[Path, dict[str, Any]], None]


def test_a_prepared_folder_holds_the_six_files_and_leaves_the_source_as_it_was(model: Path, tmp_path: Path) -> None:
    (model / "README.md").write_text("not needed")
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    prepared = prepare_model(model, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert prepared.architecture == "Phi3ForCausalLM"
    assert prepared.context_length == 2048
    assert before == {path.name: path.read_bytes() for path in model.iterdir()}


def test_parameters_are_counted_as_torch_counts_them(model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    prepared = prepare_model(model, tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert prepared.parameters == sum(weight.numel() for weight in loaded.parameters())


def test_a_missing_chat_template_is_refused_with_what_to_do(model: Path, root: Path) -> None:
    (model / "chat_template.jinja").unlink()
    with pytest.raises(IncompleteModel, match=r"no chat template; use the instruct version"):
        resolve(FolderModel(model), root)


@pytest.mark.parametrize("named", [False, True])
def test_a_chat_template_in_the_tokenizers_configuration_becomes_a_file(
    model: Path, tmp_path: Path, edit_json: EditJson, named: bool
) -> None:
    template = (model / "chat_template.jinja").read_text(encoding="utf-8")
    (model / "chat_template.jinja").unlink()
    stored = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": template}] if named else template
    edit_json(model / "tokenizer_config.json", {"chat_template": stored})
    prepare_model(model, tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_text(encoding="utf-8") == template
    assert "chat_template" not in json.loads((tmp_path / "out" / "tokenizer_config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m['content'] }}{% endif %}", "can't render"),
        ("{{ raise_exception('no') }}", "can't render"),
        ("{% for m in messages %}{{ m['role'] }}<|im_end|>{% endfor %}", "leaves out"),
        ("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}", "never stop by itself"),
    ],
)
def test_a_chat_template_that_cannot_carry_a_chat_is_refused(
    model: Path, root: Path, template: str, reason: str
) -> None:
    (model / "chat_template.jinja").write_text(template, encoding="utf-8")
    with pytest.raises(IncompleteModel, match=reason):
        resolve(FolderModel(model), root)


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["Phi3ForSequenceClassification"]},
        {"architectures": None},
        {"model_type": "phi9", "architectures": ["Phi9ForCausalLM"]},
        {"model_type": "bart", "architectures": ["BartForConditionalGeneration"]},
        {"quantization_config": {"quant_method": "gptq"}},
    ],
)
def test_only_a_causal_language_model_that_transformers_knows_is_taken(
    model: Path, root: Path, edit_json: EditJson, changes: dict[str, Any]
) -> None:
    edit_json(model / "config.json", changes)
    with pytest.raises(IncompleteModel, match=r"config\.json"):
        resolve(FolderModel(model), root)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_missing_file_is_named(model: Path, root: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(IncompleteModel, match=rf"has no {name}"):
        resolve(FolderModel(model), root)


def test_an_adapter_is_not_taken_for_a_model(model: Path, root: Path) -> None:
    (model / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnsafeModel, match="merge the adapter with its model"):
        resolve(FolderModel(model), root)


def test_writing_to_the_source_later_does_not_reach_the_prepared_model(model: Path, root: Path) -> None:
    resolved = resolve(FolderModel(model), root)
    before = (resolved.address / "model.safetensors").read_bytes()
    with (model / "model.safetensors").open("r+b") as weights:
        weights.write(b"\0" * 16)
    assert (resolved.address / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_refused(model: Path, root: Path, keep: int) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(IncompleteModel, match=r"model\.safetensors is truncated or damaged"):
        resolve(FolderModel(model), root)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_hidden_layers": 3}, r"layers\.2.* is missing"),
        ({"intermediate_size": 96}, r"has shape"),
        ({"tie_word_embeddings": False}, r"lm_head\.weight .* is missing"),
        ({"vocab_size": 500}, r"the tokenizer has a token 511, but config\.json's vocab_size is 500"),
    ],
)
def test_weights_tokenizer_and_configuration_of_different_models_are_refused(
    model: Path, root: Path, edit_json: EditJson, changes: dict[str, Any], reason: str
) -> None:
    edit_json(model / "config.json", changes)
    with pytest.raises(IncompleteModel, match=reason):
        resolve(FolderModel(model), root)


def test_weights_in_shards_are_taken_whole_or_not_at_all(model: Path, tmp_path: Path, root: Path) -> None:
    from transformers import AutoModelForCausalLM

    sharded = tmp_path / "sharded"
    loaded = AutoModelForCausalLM.from_pretrained(model)
    loaded.save_pretrained(sharded, max_shard_size="100KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (sharded / name).write_bytes((model / name).read_bytes())
    resolved = resolve(FolderModel(sharded), root)
    assert resolved.parameters == sum(weight.numel() for weight in loaded.parameters())
    AutoModelForCausalLM.from_pretrained(resolved.address)
    sorted(sharded.glob("model-*.safetensors"))[0].unlink()
    with pytest.raises(IncompleteModel, match=r"lacks model-00001-of"):
        resolve(FolderModel(sharded), tmp_path / "elsewhere")
