"""Only complete checkpoints of the same fingerprint are resumed from."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from training_code import checkpoints
from training_code.settings import Settings


def make(root: Path, step: int, *, best: int | None = None, mark: str | None = "mine", finished: bool = False) -> Path:
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    state = {"best_model_checkpoint": None if best is None else str(root / f"checkpoint-{best}")}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    if mark is not None:
        checkpoints.mark_complete(folder, step, mark, finished=finished)
    return folder


def test_the_newest_complete_checkpoint_is_the_one_with_most_steps(tmp_path: Path):
    make(tmp_path, 9)
    make(tmp_path, 10, best=9, finished=True)
    found = checkpoints.newest(tmp_path, "mine")
    assert found == checkpoints.Checkpoint(tmp_path / "checkpoint-10", 10, True)


def test_an_incomplete_checkpoint_is_passed_over_and_removed(tmp_path: Path):
    make(tmp_path, 3)
    make(tmp_path, 5, mark=None)
    found = checkpoints.newest(tmp_path, "mine")
    assert found is not None
    assert found.step == 3
    assert not (tmp_path / "checkpoint-5").exists()


def test_a_checkpoint_of_another_run_is_passed_over_and_removed(tmp_path: Path):
    make(tmp_path, 5, mark="another")
    assert checkpoints.newest(tmp_path, "mine") is None
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_whose_best_weights_are_gone_does_not_count(tmp_path: Path):
    make(tmp_path, 5, best=4)
    assert checkpoints.newest(tmp_path, "mine") is None


@pytest.mark.parametrize("damage", ["", "{", '{"fingerprint": "mine"'])
def test_a_marker_cut_short_is_no_marker(tmp_path: Path, damage: str):
    (make(tmp_path, 5) / checkpoints.MARKER).write_text(damage)
    assert checkpoints.newest(tmp_path, "mine") is None


def test_no_folder_of_checkpoints_is_no_checkpoint(tmp_path: Path):
    assert checkpoints.newest(tmp_path / "none", "mine") is None


def test_the_newest_and_the_best_are_kept(tmp_path: Path):
    for step in (2, 4, 10, 12):
        make(tmp_path, step)
    incomplete = make(tmp_path, 14, mark=None)
    checkpoints.keep_newest(tmp_path, 2, best=str(tmp_path / "checkpoint-2"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-10",
        "checkpoint-12",
        "checkpoint-14",
        "checkpoint-2",
    ]
    assert incomplete.exists()


def test_removal_takes_the_marker_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = make(tmp_path, 2)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.remove(folder)
    assert checkpoints.read(folder, "mine") is None


def test_the_fingerprint_changes_with_data_settings_and_model_and_not_with_places(
    settings: Callable[..., Settings], tmp_path: Path
):
    base = checkpoints.fingerprint(settings())
    assert checkpoints.fingerprint(settings(output_dir=tmp_path / "other", save_seconds=1)) == base
    assert checkpoints.fingerprint(settings(seed=1)) != base
    more = tmp_path / "more.jsonl"
    more.write_text(settings().train_file.read_text() + "\n")
    assert checkpoints.fingerprint(settings(train_file=more)) != base
    assert checkpoints.fingerprint(settings(validation_file=more)) != base
    model = tmp_path / "model"
    model.mkdir()
    for path in settings().base_model.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    assert checkpoints.fingerprint(settings(base_model=model)) == base
    (model / "chat_template.jinja").write_text("another")
    assert checkpoints.fingerprint(settings(base_model=model)) != base
