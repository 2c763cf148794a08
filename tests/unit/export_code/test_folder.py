import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from export_code import folder as exporting
from export_code.__main__ import REFUSED, main
from export_code.errors import CannotExport
from export_code.folder import export_gguf, export_safetensors
from export_code.gguf_file import About
from tests.support.tiny_models import make_tiny_phi3

ABOUT = About("phi-chat", "3")


def quiet(line: str) -> None:
    del line


def test_a_folder_for_ollama_and_llama_cpp(models: Path, tmp_path: Path):
    written = export_gguf(models / "phi3-mini-4k", tmp_path / "out", ABOUT, "q8_0", quiet)

    assert [path.name for path in written] == ["Modelfile", "README.md", "phi-chat-3-q8_0.gguf"]
    assert (tmp_path / "out/Modelfile").read_text().splitlines()[-6:] == [
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        "PARAMETER num_ctx 256",
        'PARAMETER stop "<|endoftext|>"',
        'PARAMETER stop "<|assistant|>"',
        'PARAMETER stop "<|end|>"',
    ]
    assert "attends to the last 48 tokens" in (tmp_path / "out/README.md").read_text()


def test_the_template_for_ollama_has_the_model_s_own_system_prompt(tmp_path: Path):
    export_gguf(make_tiny_phi3(tmp_path / "model"), tmp_path / "out", ABOUT, "f16", quiet)
    found = (tmp_path / "out/Modelfile").read_text()

    assert 'SYSTEM """You are helpful."""' in found
    assert '{{ else if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n{{ else if' in found
    assert found.partition('"""\nSYSTEM')[0].endswith("{{ end }}{{ end }}<|im_start|>assistant\n")


def test_a_template_that_does_more_than_frame_turns_is_left_to_ollama(models: Path, tmp_path: Path):
    model = Path(shutil.copytree(models / "phi4-mini", tmp_path / "model"))
    template = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").write_text(template.replace("message['content']", "message['content']|trim|upper"))

    export_gguf(model, tmp_path / "out", ABOUT, "f16", quiet)

    assert "TEMPLATE" not in (tmp_path / "out/Modelfile").read_text()


def test_safetensors_are_a_model_that_transformers_loads(models: Path, tmp_path: Path):
    export_safetensors(models / "phi4-mini", tmp_path / "out", quiet)

    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.model_type == "phi3"


def test_nothing_is_overwritten(models: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")

    with pytest.raises(CannotExport, match="exists already"):
        export_gguf(models / "phi4-mini", tmp_path / "out", ABOUT, "f16", quiet)

    assert (tmp_path / "out/mine.txt").read_text() == "mine"


def test_an_export_that_fails_leaves_nothing(models: Path, tmp_path: Path):
    def fail(line: str) -> None:
        if "weights" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_gguf(models / "phi4-mini", tmp_path / "out", ABOUT, "f16", fail)

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_noticed_before_anything_is_written(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exporting.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1000))

    with pytest.raises(CannotExport, match="GB are free"):
        export_safetensors(models / "phi4-mini", tmp_path / "out", quiet)


def test_the_program_exports_and_refuses_with_one_sentence(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    wanted = [str(models / "phi4-mini"), "--to", str(tmp_path / "out"), "--name", "mine"]

    assert main(wanted) == 0
    assert main(wanted) == REFUSED
    assert (tmp_path / "out/mine-q8_0.gguf").is_file()
    assert "exists already" in capsys.readouterr().err
