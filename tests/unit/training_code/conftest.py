"""Tiny models, a small corpus, and a way to train on them inside the test process."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_models import Family, make_tiny_phi3
from training_code.pipes import Terminal
from training_code.settings import Settings, build

WORDS = ["pump", "lamp", "red", "green", "button", "press", "box", "filter", "hose", "battery", "spring", "sand"]


def conversations(count: int, seed: int) -> list[list[dict[str, str]]]:
    """Conversations of one to three questions with answers, always the same for a seed."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        messages = []
        for _ in range(draw.choice([1, 1, 2, 3])):
            question = "Where is the " + " ".join(draw.choices(WORDS, k=draw.randint(2, 6))) + "?"
            answer = "In the " + " ".join(draw.choices(WORDS, k=draw.randint(2, 6))) + "."
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        found.append(messages)
    return found


def write_jsonl(path: Path, rows: list[list[dict[str, str]]]) -> Path:
    lines = [json.dumps({"id": str(i), "group": str(i), "messages": row}) + "\n" for i, row in enumerate(rows)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable access to the hub; the environment is restored after the test."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family], Path]:
    """A function that returns the folder of a tiny model of a family; each is made once."""
    made: dict[str, Path] = {}

    def get(family: Family = "smollm2") -> Path:
        if family not in made:
            made[family] = make_tiny_phi3(tmp_path_factory.mktemp(family), family=family)
        return made[family]

    return get


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl (24 conversations) and validation.jsonl (8)."""
    folder = tmp_path_factory.mktemp("corpus")
    write_jsonl(folder / "train.jsonl", conversations(24, seed=1))
    write_jsonl(folder / "validation.jsonl", conversations(8, seed=2))
    return folder


@pytest.fixture
def settings(tiny: Callable[..., Path], corpus: Path, tmp_path: Path) -> Callable[..., Settings]:
    """A function that returns settings for a run of a few seconds into tmp_path/out; any setting can be overridden."""

    def get(**given: Any) -> Settings:
        values: dict[str, Any] = {
            "base_model": tiny(),
            "train_file": corpus / "train.jsonl",
            "validation_file": corpus / "validation.jsonl",
            "output_dir": tmp_path / "out",
            "packed_length": 256,
            "epochs": 2,
            "lora_rank": 4,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "merge_check_prompts": 2,
            "tune_malloc": False,
            # With several threads, a model of two small layers is slower.
            "threads": 1,
        }
        return build(values | given, "the test")

    return get


def arguments(settings: Settings) -> list[str]:
    """The command line of these settings."""
    values = {name: value for name, value in settings.as_json().items() if value is not None}
    text = {n: ",".join(v) if isinstance(v, list) else str(v) for n, v in values.items()}
    return [part for name, value in text.items() for part in (f"--{name}", value)]


class Recorder(Terminal):
    """Collects the log lines of a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def train() -> Callable[[Settings], tuple[dict[str, Any], list[str]]]:
    """A function that trains and returns the report and the log lines."""
    from training_code.fine_tune import fine_tune

    def run(settings: Settings) -> tuple[dict[str, Any], list[str]]:
        recorder = Recorder()
        return fine_tune(settings, recorder), recorder.lines

    return run
