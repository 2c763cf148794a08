"""What a model folder is refused for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.base_models import BaseModelMissing, FolderModel, IncompleteModel, UnsafeModel, resolve
from phi_assets.base_models.safety import refuse_unsafe_folder

EditJson = Callable[[Path, dict[str, Any]], None]


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "training_args.bin", "optimizer.pt", "old.pth", "a.pkl", "m.ckpt", "sub/deeper/x.PT"]
)
def test_a_pickle_is_refused_by_name(model: Path, root: Path, name: str) -> None:
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(UnsafeModel, match=rf"{name}.*safetensors"):
        resolve(FolderModel(model), root)
    assert not list(root.glob("[!.]*"))


@pytest.mark.parametrize("name", ["modeling_phi3.py", "custom_generate/generate.py", "kernel.so", "model.h5"])
def test_code_beside_the_weights_is_refused(model: Path, root: Path, name: str) -> None:
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_text("print('hello')")
    with pytest.raises(UnsafeModel, match=name):
        resolve(FolderModel(model), root)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_auto_map_is_refused_in_every_configuration(model: Path, root: Path, edit_json: EditJson, file: str) -> None:
    edit_json(model / file, {"auto_map": {"AutoConfig": "someone/else--configuration.Config"}})
    with pytest.raises(UnsafeModel, match=rf"{file} has 'auto_map'.*remove that entry"):
        resolve(FolderModel(model), root)


@pytest.mark.parametrize(
    "entry",
    [
        {"text_config": {"auto_map": {"AutoConfig": "configuration.Config"}}},
        {"layers": [{"trust_remote_code": True}]},
        {"_attn_implementation_internal": "someone/kernel"},
        {"attn_implementation": {"": "someone/kernel:forward"}},
        {"_experts_implementation": "someone/kernel"},
    ],
)
def test_configuration_that_names_code_is_refused_at_any_depth(model: Path, edit_json: EditJson, entry: Any) -> None:
    edit_json(model / "config.json", entry)
    with pytest.raises(UnsafeModel, match=r"config\.json"):
        refuse_unsafe_folder(model)


def test_an_attention_implementation_of_transformers_own_is_no_danger(model: Path, edit_json: EditJson) -> None:
    edit_json(model / "config.json", {"attn_implementation": "flash_attention_2", "auto_map": {}})
    refuse_unsafe_folder(model)


def test_hidden_folders_are_not_looked_at(model: Path) -> None:
    (model / ".git").mkdir()
    (model / ".git" / "hook.py").write_text("")
    refuse_unsafe_folder(model)


def test_broken_json_is_refused_with_the_files_name(model: Path, root: Path) -> None:
    (model / "generation_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(IncompleteModel, match=r"generation_config\.json is not valid JSON"):
        resolve(FolderModel(model), root)


def test_a_missing_folder_is_named_with_the_valid_forms(tmp_path: Path, root: Path) -> None:
    with pytest.raises(BaseModelMissing, match=r"microsoft/Phi-4.*hf:<owner>.*did you mean hf:microsoft/Phi-4\?"):
        resolve(FolderModel(tmp_path / "microsoft" / "Phi-4"), root)


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(BaseModelMissing, match=r"has no config\.json"):
        resolve(FolderModel(tmp_path), root)
