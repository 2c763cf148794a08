"""Training whose node may vanish: the store holds complete files, from which another node can resume."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training_code import cloud
from training_code.checkpoints import MARKER
from training_code.settings import Settings

PROJECT = Path(__file__).resolve().parents[3]
Make = Callable[..., Settings]


def a_checkpoint(root: Path, step: int, *, best: Path | None = None, complete: bool = True) -> Path:
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights of step %d" % step)
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": str(best) if best else None}))
    if complete:
        (folder / MARKER).write_text(json.dumps({"fingerprint": "f", "step": step, "finished": False}))
    return folder


def names(root: Path) -> set[str]:
    return {folder.name for folder in root.glob("*")}


def test_the_store_has_the_complete_checkpoints_and_no_others(tmp_path: Path):
    local, store = tmp_path / "local", tmp_path / "store"
    a_checkpoint(local, 10)
    a_checkpoint(local, 20, complete=False)
    cloud.mirror(local, store)
    assert names(store) == {"checkpoint-10"}

    a_checkpoint(local, 30)
    shutil.rmtree(local / "checkpoint-10")
    cloud.mirror(local, store)
    assert names(store) == {"checkpoint-30"}


def test_the_store_keeps_its_checkpoints_while_there_are_none_here(tmp_path: Path):
    a_checkpoint(tmp_path / "store", 10)
    cloud.mirror(tmp_path / "local", tmp_path / "store")
    assert names(tmp_path / "store") == {"checkpoint-10"}


def test_a_copy_that_was_cut_off_is_made_again(tmp_path: Path):
    local, store = tmp_path / "local", tmp_path / "store"
    a_checkpoint(local, 10)
    a_checkpoint(store, 10, complete=False)
    (store / "checkpoint-10" / "model.safetensors").write_bytes(b"wei")
    cloud.mirror(local, store)
    assert (store / "checkpoint-10" / "model.safetensors").read_bytes() == b"weights of step 10"
    assert (store / "checkpoint-10" / MARKER).is_file()


def test_a_restored_checkpoint_names_the_best_one_where_it_lies_now(tmp_path: Path):
    gone, store, local = Path("/gone/checkpoints"), tmp_path / "store", tmp_path / "local"
    a_checkpoint(store, 10)
    a_checkpoint(store, 20, best=gone / "checkpoint-10")
    a_checkpoint(store, 30, complete=False)
    cloud.restore(store, local)
    assert names(local) == {"checkpoint-10", "checkpoint-20"}
    state = json.loads((local / "checkpoint-20" / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(local / "checkpoint-10")


def test_a_store_that_cannot_be_written_costs_no_training(tmp_path: Path, monkeypatch, capsys):
    program = tmp_path / "program.py"
    program.write_text("import time; time.sleep(0.5)")
    monkeypatch.setattr(cloud, "PROGRAM", program)
    monkeypatch.setattr(cloud, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def fails() -> None:
        raise OSError(5, "Input/output error")

    assert cloud.train([], tmp_path, fails) == 0
    assert capsys.readouterr().out.count("Input/output error") == 1


def arguments(settings: Settings) -> list[str]:
    given: dict[str, Any] = settings.as_json()
    del given["output_dir"]
    return [
        f"--{name}={','.join(value) if isinstance(value, list) else value}"
        for name, value in given.items()
        if value is not None
    ]


def start(settings: Settings, store: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "training_code/cloud.py", f"--store={store}", *arguments(settings)]
    return subprocess.Popen(command, cwd=PROJECT, start_new_session=True)


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.long
@pytest.mark.integration
def test_a_lost_node_s_training_is_finished_by_another_in_the_same_weights(settings: Make, tmp_path: Path):
    hard = {"lora_dropout": 0.2, "save_seconds": 0.05, "epochs": 18, "accumulation": 2, "packed_length": 188}
    whole, first, second = tmp_path / "whole", tmp_path / "first", tmp_path / "second"
    assert start(settings(**hard), whole).wait(120) == 0

    lost = start(settings(**hard), first)
    deadline = time.monotonic() + 120
    while not list(first.glob(f"checkpoints/*/{MARKER}")):
        assert lost.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(lost.pid, signal.SIGKILL)
    lost.wait()

    first.rename(second)  # mounted at another place on the next node
    assert start(settings(**hard), second).wait(120) == 0
    report = json.loads((second / "report.json").read_text())
    assert report["resumed_from"]
    assert digest(second) == digest(whole)
    assert report["files"]["model/model.safetensors"]["sha256"] == digest(second)
    assert not (second / "checkpoints").exists()

    again = subprocess.run(
        [sys.executable, "training_code/cloud.py", f"--store={second}", *arguments(settings(**hard))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert "nothing to do" in again.stdout
