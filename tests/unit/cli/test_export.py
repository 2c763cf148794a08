from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader

from phi_assets.cli import export as command
from phi_assets.cli.main import main
from phi_assets.records import RegisteredModel
from tests.support.tiny_models import make_tiny_phi3


class Registry:
    """A registry whose only version, 3, has its weights in a folder."""

    def __init__(self, address: str) -> None:
        self._model = RegisteredModel(
            digest="m" * 64,
            name="phi-chat",
            version="3",
            address=address,
            model_digest="m" * 64,
            dataset_digest="d" * 64,
            training_run="r",
        )

    def champion(self) -> RegisteredModel:
        return self._model

    def version(self, number: str) -> RegisteredModel | None:
        return self._model if number == "3" else None

    def versions(self) -> list[Any]:
        return [self._model]

    def card(self, model: RegisteredModel) -> str:
        del model
        return "---\nlibrary_name: transformers\nlicense: apache-2.0\n---\n\n# phi-chat\n"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry(str(make_tiny_phi3(tmp_path / "model")))
    monkeypatch.setenv("PHI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command, "build_resources", lambda settings: {"registry": found})
    return found


def test_the_champion_is_exported_with_where_it_comes_from(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["export", "--to", str(tmp_path / "out")]) == 0

    fields = GGUFReader(tmp_path / "out/phi-chat-3-q8_0.gguf").fields
    wanted = ("general.name", "general.version", "general.license", "phi_assets.dataset_digest")
    assert [fields[name].contents() for name in wanted] == ["phi-chat", "3", "apache-2.0", "d" * 64]
    assert "phi-chat-3-q8_0.gguf" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["9"], "no version 9 is registered; `phi models` lists them"),
        (["--format", "onnx"], "onnxruntime_genai.models.builder"),
    ],
)
def test_what_cannot_be_exported_is_said_and_nothing_is_written(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
):
    assert main(["export", *arguments, "--to", str(tmp_path / "out")]) == 1

    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("address", "reason"), [("azureml://paths/x", "az ml model download"), ("/gone", "weights of version 3 are gone")]
)
def test_weights_that_are_not_here_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str, reason: str
):
    monkeypatch.setenv("PHI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command, "build_resources", lambda settings: {"registry": Registry(address)})

    assert main(["export", "3", "--to", str(tmp_path / "out")]) == 1
    assert reason in capsys.readouterr().err


def test_the_command_offers_what_the_program_does():
    from export_code.gguf_file import QUANTIZATIONS
    from phi_assets.cli.main import QUANTIZATIONS as OFFERED

    assert OFFERED == QUANTIZATIONS
