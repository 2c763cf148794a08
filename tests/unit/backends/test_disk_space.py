"""What a training needs of the disk, and the refusal where it does not fit."""

import json
import shutil
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from phi_assets.backends import disk_space
from phi_assets.backends.dataset_preparation import DatasetPreparation
from phi_assets.backends.disk_space import SLACK, DiskFull, require_space
from phi_assets.backends.home_storage import size_of
from phi_assets.backends.local.training.disk_need import bytes_of_training
from phi_assets.models.recipes import Recipe
from phi_assets.settings import PRESETS
from tests.support.homes import OWN
from tests.support.tiny_models import make_tiny_phi3
from tests.unit.training_code.conftest import conversations, write_jsonl
from training_code.fine_tune import fine_tune
from training_code.pipes import Terminal
from training_code.settings import build

Usage = namedtuple("Usage", "total used free")
SMALL: dict[str, Any] = {
    "max_length": 256,
    "epochs": 2.0,
    "precision": "fp32",
    "save_seconds": 1e-6,
    "tune_malloc": False,
}
METHODS = [
    {"method": "full"},
    {"method": "full", "frozen": ["embeddings"]},
    {"method": "full", "frozen": ["embed_tokens"]},
    {"method": "lora", "lora_rank": 16},
]


@pytest.fixture
def free(monkeypatch):
    """A function that sets the free bytes of every disk."""

    def set_free(count: int) -> None:
        monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _path: Usage(10**12, 0, count))

    return set_free


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own use
@pytest.mark.parametrize("changes", METHODS, ids=["full", "frozen by role", "frozen", "lora"])
def test_no_training_writes_more_than_was_estimated_and_none_much_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):  # training sets what is not set
        monkeypatch.setenv(name, "1")
    base = make_tiny_phi3(tmp_path / "base")
    files = {name: write_jsonl(tmp_path / f"{name}.jsonl", conversations(24, seed)) for seed, name in enumerate("ab")}
    paths = {
        "train_file": files["a"],
        "validation_file": files["b"],
        "base_model": base,
        "output_dir": tmp_path / "out",
    }
    settings = build({**SMALL, **changes, **{name: str(path) for name, path in paths.items()}}, "a test")
    most, over = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.002):
            try:
                most = max(most, size_of(tmp_path / "out"))
            except FileNotFoundError:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    fine_tune(settings, Terminal())
    over.set()
    watcher.join()

    estimated = bytes_of_training(base, settings.as_json())
    other = 5 * (base / "tokenizer.json").stat().st_size + 400_000  # tokenizers, states of the trainer, and pictures
    assert 0.5 * estimated < most < estimated + other


def test_a_preset_s_need_follows_from_its_method():
    full, lora = (Recipe(str(PRESETS / f"{name}.yaml")).settings() for name in ("laptop", "phi35-lora"))

    assert (full["method"], lora["method"]) == ("full", "lora")
    assert full["keep_checkpoints"] == 2


def test_at_the_edge_one_byte_decides(tmp_path: Path, free):
    free(1_000 + SLACK)
    assert require_space(tmp_path / "not" / "yet", 1_000, "this") == 1_000 + SLACK

    with pytest.raises(DiskFull) as refused:
        require_space(tmp_path / "not" / "yet", 1_001, "this")
    said = str(refused.value.description)
    assert said == (
        f"this needs about 0.05 GB in {tmp_path / 'not' / 'yet'} and 0.05 GB are free there; "
        "free some with `phi clean`, or move the home to a larger disk with PHI_HOME"
    )


def test_a_dataset_version_that_does_not_fit_is_refused_before_it_is_written(tmp_path: Path, free):
    source = tmp_path / "raw.jsonl"
    shutil.copyfile(OWN, source)
    cleaning = {"columns": {}, "validation_share": 0.1, "test_share": 0.1, "near_duplicate_threshold": 0.8}
    preparation = DatasetPreparation(tmp_path, str(source), cleaning)
    free(5 * source.stat().st_size + SLACK - 1)

    with pytest.raises(DiskFull, match="a new dataset version needs about"):
        preparation.publish(preparation.feeds(), print)
    assert not (tmp_path / "datasets").exists()

    free(5 * source.stat().st_size + SLACK)
    assert json.loads(json.dumps(preparation.publish(preparation.feeds(), print).rows))
