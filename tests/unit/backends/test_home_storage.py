"""What a clean sees of a home, and removals that are interrupted."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from phi_assets.backends import content_store, home_storage
from phi_assets.backends.home_storage import HomeStorage
from phi_assets.project import PROJECT
from tests.support.fake_records import NO_REPLAY, a_model

DIGEST = "m" * 64


@pytest.fixture
def home(tmp_path: Path) -> HomeStorage:
    folder = content_store.place(tmp_path / "models", DIGEST)
    (folder / "model").mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.json", "README.md", "loss_curve.png"):
        (folder / "model" / name).write_bytes(b"x" * 1_000)
    for name in ("report.json", "loss_curve.png", "mask.html"):
        (folder / name).write_bytes(b"x" * 10)
    content_store.put(a_model(DIGEST, str(folder / "model")), folder)
    return HomeStorage(tmp_path)


def of_kind(home: HomeStorage, kind: str):
    return [each for each in home.stored() if each.kind == kind]


def names(home: HomeStorage) -> set[str]:
    return {path.name for path in home.state.rglob("*") if path.is_file()}


def test_of_a_model_the_weights_go_and_what_explains_it_stays(home):
    (weights,) = of_kind(home, "weights")
    assert (weights.digest, weights.bytes) == (DIGEST, 2_000)

    home.remove(weights)

    assert names(home) == {"record.json", "report.json", "loss_curve.png", "mask.html", "README.md"}
    assert of_kind(home, "weights") == []
    assert len(of_kind(home, "model")) == 1


def test_a_removal_that_is_killed_leaves_the_model_without_weights_and_the_next_clean_finishes_it(home):
    code = (
        "import os, shutil, sys; from pathlib import Path; from phi_assets.backends.home_storage import HomeStorage;"
        "h = HomeStorage(Path(sys.argv[1])); shutil.rmtree = lambda *a, **k: os._exit(9);"
        "h.remove([each for each in h.stored() if each.kind == 'weights'][0])"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    assert subprocess.run([sys.executable, "-c", code, str(home.state)], env=environment, check=False).returncode == 9
    folder = content_store.place(home.state / "models", DIGEST)
    assert not (folder / "model" / "model.safetensors").exists()
    assert content_store.remembered(home.state / "models", DIGEST)

    home.sweep()

    assert not (home.state / home_storage.TRASH).exists()


def test_a_removal_that_ends_between_two_files_is_finished_later(home, monkeypatch):
    (weights,) = of_kind(home, "weights")
    rename = Path.rename
    left = iter([True])
    monkeypatch.setattr(Path, "rename", lambda path, to: rename(path, to) if next(left, False) else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        home.remove(weights)
    monkeypatch.undo()

    (rest,) = of_kind(home, "weights")
    assert [Path(place).name for place in rest.places] == ["tokenizer.json"]
    home.remove(rest)
    assert of_kind(home, "weights") == []


def test_two_removals_of_the_same_do_not_disturb_each_other(home):
    (weights,) = of_kind(home, "weights")

    home.remove(weights)
    home.remove(weights)

    assert of_kind(home, "weights") == []


def test_unfinished_folders_are_leftovers_and_nothing_else(home):
    for place in ("models/under-way-1", "flows/.draft-x", "datasets/.writing-x", "evaluations/under-way-2"):
        (home.state / place).mkdir(parents=True)

    assert len(of_kind(home, "leftover")) == 4
    assert (of_kind(home, "dataset"), of_kind(home, "flow"), of_kind(home, "evaluation")) == ([], [], [])
    shutil.rmtree(home.state / "models" / "under-way-1")
    assert len(of_kind(home, "leftover")) == 3


def test_a_replay_set_is_stored_and_named_by_the_model_that_it_held(home):
    replay = replace(NO_REPLAY, digest="r" * 64)
    folder = content_store.place(home.state / "replay", replay.digest)
    folder.mkdir(parents=True)
    (folder / "replay.jsonl").write_bytes(b"x" * 100)
    content_store.put(replay, folder)
    (home.state / "replay" / "under-way-1").mkdir()
    model = replace(a_model(DIGEST, ""), replay_digest=replay.digest)
    content_store.put(model, content_store.place(home.state / "models", DIGEST))

    (found,) = of_kind(home, "replay set")
    assert found.digest == replay.digest
    assert found.bytes > 100
    assert all(replay.digest in each.refers_to for kind in ("weights", "model") for each in of_kind(home, kind))
    assert [Path(each.places[0]).name for each in of_kind(home, "leftover")] == ["under-way-1"]
