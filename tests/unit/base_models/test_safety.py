"""What a model folder is refused for, as a base model and by the server: one list for both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.base_models import BaseModelMissing, FolderModel, IncompleteModel, UnsafeModel, resolve
from phi_assets.base_models.safety import refuse_unsafe_folder
from serving_code.model_folder import UnsafeModel as OfTheServer
from serving_code.model_folder import load_model_folder
from tests.support.bad_model_folders import BAD

EditJson = Callable[[Path, dict[str, Any]], None]


@pytest.mark.parametrize("bad", BAD)
def test_what_could_run_code_is_refused_and_nothing_is_made(model: Path, root: Path, bad: str) -> None:
    change, said = BAD[bad]
    change(model)

    with pytest.raises(UnsafeModel, match=said):
        resolve(FolderModel(model), root)
    assert not list(root.glob("[!.]*"))


@pytest.mark.parametrize("bad", BAD)
def test_the_server_refuses_the_same_folders(model: Path, bad: str) -> None:
    change, said = BAD[bad]
    change(model)

    with pytest.raises(OfTheServer, match=said):
        load_model_folder(model)


def test_the_hub_s_cache_is_no_danger_though_its_files_are_links(model: Path, root: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "cache" / "blobs", tmp_path / "cache" / "snapshots" / "c0ffee"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(model.iterdir()):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")

    resolve(FolderModel(snapshot), root)
    load_model_folder(snapshot)


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
