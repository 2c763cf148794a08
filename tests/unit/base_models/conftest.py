"""Tiny model folders, a Python package that carries a tiny GGUF, and a hub on loopback."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.tiny_models import make_tiny_phi3

EditJson = Callable[[Path, dict[str, Any]], None]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder per family; tests copy from it."""
    root = tmp_path_factory.mktemp("tiny")
    for family in ("smollm2", "phi3", "phi4"):
        make_tiny_phi3(root / family, family=family)
    return root


@pytest.fixture
def model(tiny_models: Path, tmp_path: Path) -> Path:
    """A tiny model folder of the SmolLM2 family that the test may change."""
    return Path(shutil.copytree(tiny_models / "smollm2", tmp_path / "model"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where resolved models are kept."""
    return tmp_path / "models"


def edit_json(path: Path, changes: dict[str, Any]) -> None:
    """The JSON object in ``path`` has ``changes``; a value of None removes the key."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


@pytest.fixture(name="edit_json")
def _edit_json() -> EditJson:
    return edit_json


@pytest.fixture(scope="session")
def tiny_gguf(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama, its projections quantised to Q4_1, with the tiny SmolLM2 tokenizer."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf"
    write_tiny_gguf(path, tiny_models / "smollm2")
    return path


@pytest.fixture
def tiny_package(tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an installed package, version 1.0, that carries the tiny GGUF and fails when it is imported."""
    site = tmp_path / "site"
    (site / "tiny_model").mkdir(parents=True)
    (site / "tiny_model" / "__init__.py").write_text("raise ImportError('needs llama.cpp')\n")
    shutil.copyfile(tiny_gguf, site / "tiny_model" / "tiny.Q4_1.gguf")
    info = site / "tiny_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
    (info / "RECORD").write_text("tiny_model/__init__.py,,\ntiny_model/tiny.Q4_1.gguf,,\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return "tiny-model"
