"""Loading a model folder refuses files that could run code, and names missing files."""

from types import SimpleNamespace

import pytest

from serving_code.engine import Engine
from serving_code.model_folder import UnusableModel, context_length
from tests.unit.serving_code.conftest import write_model


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "model")


def test_a_missing_chat_template_says_what_to_add(folder):
    (folder / "chat_template.jinja").unlink()

    with pytest.raises(UnusableModel, match=r"add chat_template\.jinja"):
        Engine.load(folder)


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(UnusableModel, match=r"no config\.json"):
        Engine.load(tmp_path)


def test_a_truncated_config_is_named(folder):
    (folder / "config.json").write_text('{"model_type": "ph')

    with pytest.raises(UnusableModel, match=r"config\.json is not valid JSON"):
        Engine.load(folder)


def test_a_longrope_model_is_held_to_its_original_length():
    config = SimpleNamespace(
        max_position_embeddings=131072,
        rope_parameters={"rope_type": "longrope", "original_max_position_embeddings": 4096},
    )

    assert context_length(config) == 4096


def test_a_plain_model_may_use_its_whole_context():
    config = SimpleNamespace(max_position_embeddings=8192, rope_parameters={"rope_type": "default"})

    assert context_length(config) == 8192
