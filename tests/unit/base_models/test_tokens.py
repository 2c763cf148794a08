"""Configuration, generation configuration and tokenizer name the same special tokens."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from phi_assets.base_models import FolderModel, IncompleteModel, resolve

EditJson = Callable[[Path, dict[str, Any]], None]


class Tokens(NamedTuple):
    """Special tokens as the three files name them after loading; ``stops`` is the generation configuration's eos."""

    bos: int | None
    eos: int
    pad: int
    stops: list[int]


def tokens_of(folder: Path) -> Tokens:
    """The special tokens of a model folder. Fails when the three files don't agree."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    generation = GenerationConfig.from_pretrained(folder)
    stops = generation.eos_token_id if isinstance(generation.eos_token_id, list) else [generation.eos_token_id]
    assert config.bos_token_id == tokenizer.bos_token_id == generation.bos_token_id
    assert config.eos_token_id == tokenizer.eos_token_id == stops[0]
    assert config.pad_token_id == tokenizer.pad_token_id == generation.pad_token_id
    assert tokenizer.pad_token_id not in stops
    return Tokens(config.bos_token_id, config.eos_token_id, config.pad_token_id, stops)


def turn_end(folder: Path) -> int:
    """The token that follows an assistant's answer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "answer"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    return tokenizer(text.rpartition("answer")[2], add_special_tokens=False)["input_ids"][0]


@pytest.mark.parametrize("family", ["smollm2", "phi3", "phi4"])
def test_the_end_of_a_turn_is_a_stop_and_never_the_padding(tiny_models: Path, root: Path, family: str) -> None:
    resolved = resolve(FolderModel(tiny_models / family), root)
    tokens = tokens_of(resolved.address)
    assert turn_end(resolved.address) in tokens.stops
    assert turn_end(resolved.address) != tokens.pad
    assert resolved.notes == []


def test_the_padding_of_a_model_that_pads_with_its_end_token_is_changed_and_said(
    model: Path, root: Path, edit_json: EditJson
) -> None:
    edit_json(model / "tokenizer_config.json", {"pad_token": "<|im_end|>"})
    edit_json(model / "config.json", {"pad_token_id": 2})
    edit_json(model / "generation_config.json", {"pad_token_id": 2})
    resolved = resolve(FolderModel(model), root)
    assert tokens_of(resolved.address) == Tokens(bos=1, eos=2, pad=0, stops=[2])
    assert any("pad" in note and "<|endoftext|>" in note for note in resolved.notes)


def test_the_defaults_of_phi3s_configuration_class_are_not_taken_for_a_choice(
    model: Path, root: Path, edit_json: EditJson
) -> None:
    edit_json(model / "config.json", {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None})
    (model / "generation_config.json").unlink()
    assert tokens_of(resolve(FolderModel(model), root).address) == Tokens(bos=1, eos=2, pad=0, stops=[2])


def test_a_stop_that_is_an_ordinary_word_of_the_vocabulary_is_dropped(
    model: Path, root: Path, edit_json: EditJson
) -> None:
    edit_json(model / "config.json", {"eos_token_id": 400, "pad_token_id": 400})
    edit_json(model / "generation_config.json", {"eos_token_id": [400, 2], "pad_token_id": 400})
    assert tokens_of(resolve(FolderModel(model), root).address) == Tokens(bos=1, eos=2, pad=0, stops=[2])


def test_phi3s_own_stops_are_all_kept(tiny_models: Path, tmp_path: Path, root: Path, edit_json: EditJson) -> None:
    # As published: padding and eos are <|endoftext|>, the stops are <|endoftext|>, <|assistant|> and <|end|>.
    model = Path(shutil.copytree(tiny_models / "phi3", tmp_path / "phi3"))
    edit_json(model / "tokenizer_config.json", {"pad_token": "<|endoftext|>", "unk_token": "<unk>"})
    edit_json(model / "generation_config.json", {"eos_token_id": [6, 4, 3], "pad_token_id": 3})
    tokens = tokens_of(resolve(FolderModel(model), root).address)
    assert sorted(tokens.stops) == [3, 4, 6]
    assert tokens.pad == 0


def test_a_turn_end_that_the_source_forgot_among_its_stops_is_added(
    tiny_models: Path, tmp_path: Path, root: Path, edit_json: EditJson
) -> None:
    model = Path(shutil.copytree(tiny_models / "phi4", tmp_path / "phi4"))
    edit_json(model / "generation_config.json", {"eos_token_id": 0})
    resolved = resolve(FolderModel(model), root)
    assert tokens_of(resolved.address).stops == [0, 3]
    assert any("eos_token_id" in note for note in resolved.notes)


def test_a_role_token_is_never_chosen_for_padding(
    tiny_models: Path, tmp_path: Path, root: Path, edit_json: EditJson
) -> None:
    model = Path(shutil.copytree(tiny_models / "phi4", tmp_path / "phi4"))
    for name in ("<|endofprompt|>", "<|system|>"):
        _replace_everywhere(model, name, f"<|in_use_{len(name)}|>")
    template = (model / "chat_template.jinja").read_text(encoding="utf-8")
    (model / "chat_template.jinja").write_text("<|in_use_15|><|in_use_10|>" + template, encoding="utf-8")
    edit_json(model / "tokenizer_config.json", {"pad_token": "<|endoftext|>"})
    with pytest.raises(IncompleteModel, match="no token left for padding"):
        resolve(FolderModel(model), root)


def test_settings_of_a_legacy_special_tokens_map_are_merged(model: Path, root: Path, edit_json: EditJson) -> None:
    edit_json(model / "tokenizer_config.json", {"pad_token": None, "eos_token": None})
    legacy = {"eos_token": {"content": "<|im_end|>", "lstrip": False}, "pad_token": "<|endoftext|>"}
    (model / "special_tokens_map.json").write_text(json.dumps(legacy), encoding="utf-8")
    resolved = resolve(FolderModel(model), root)
    assert tokens_of(resolved.address) == Tokens(bos=1, eos=2, pad=0, stops=[2])
    assert not (resolved.address / "special_tokens_map.json").exists()


def _replace_everywhere(folder: Path, old: str, new: str) -> None:
    for path in folder.glob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
