"""A tiny model, and the same one with int8 weights."""

from pathlib import Path

import pytest

from tests.support.tiny_models import make_tiny_phi3


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model; tests do not change it."""
    return make_tiny_phi3(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def int8(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same model with int8 weights."""
    pytest.importorskip("onnx", reason="the extra `quantize` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `quantize` is not installed")
    from quantization_code.folder import write

    folder = tmp_path_factory.mktemp("int8")
    write(full, folder, 8)
    return folder
