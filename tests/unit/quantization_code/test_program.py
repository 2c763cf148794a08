"""The program: what it writes, what it refuses, and that the endpoint serves what it wrote."""

import importlib.util
import json
from pathlib import Path

import pytest

from phi_assets.backends.local.serving.endpoint import LocalEndpoint
from phi_assets.models.quantization_rules import judge
from quantization_code import __main__ as program
from tests.support.local_endpoint import ask, deploy

pytestmark = pytest.mark.integration

ANSWER = "Press the button for five seconds and the lamp turns green again."


@pytest.fixture(scope="module")
def written(full, int8, tmp_path_factory) -> Path:
    """What the program wrote for a tiny model."""
    del int8  # skips where the extra is not installed
    folder = tmp_path_factory.mktemp("written")
    rows = [
        {
            "id": f"row-{number}",
            "group": f"group-{number}",
            "messages": [
                {"role": "user", "content": f"How do I reset pump {number}?"},
                {"role": "assistant", "content": ANSWER},
            ],
        }
        for number in range(4)
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    question = {"messages": [{"role": "user", "content": "What is red?"}], "answers": ["the lamp"]}
    (folder / "questions.jsonl").write_text(json.dumps(question) + "\n")
    files = [f"--{split}_file={folder / 'test.jsonl'}" for split in ("train", "test")]
    files += [f"--questions={folder / 'questions.jsonl'}"]
    assert program.main([str(full), "--form=int8", *files, f"--output_dir={folder / 'to'}"]) == 0
    return folder / "to"


def test_the_report_has_what_the_rules_ask_for(written):
    report = json.loads((written / program.REPORT).read_text())

    assert report["form"] == "int8"
    assert report["tokens"] >= report["test_tokens"] > 40
    assert report["agreement"] > 0.9
    assert abs(report["kl"]) < 0.01
    assert abs(report["bits_change"]) < 0.01
    assert report["questions"]["count"] == 1
    assert report["runtime"].startswith("onnxruntime 1.")
    assert "at least 2,000 needed" in judge(report).description


def test_the_endpoint_serves_it_with_log_probabilities(written, tmp_path):
    endpoint = LocalEndpoint(tmp_path, "phi")
    try:
        deployed = deploy(endpoint, written, "1", form="int8")
        answer = ask(endpoint, logprobs=True, top_logprobs=2, n=2, max_completion_tokens=6).raise_for_status().json()
        status = endpoint.status()
    finally:
        endpoint.stop()

    assert deployed.form == "int8"
    assert status["deployments"][0]["form"] == "int8"
    assert len(answer["choices"]) == 2
    assert all(len(each["top_logprobs"]) == 2 for each in answer["choices"][0]["logprobs"]["content"])


def test_without_the_packages_it_names_the_command_that_installs_them(full, tmp_path, monkeypatch, capsys):
    (tmp_path / "test.jsonl").write_text("")
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "onnx" else found(name, *more))

    code = program.main(
        [str(full), "--form=int8", f"--test_file={tmp_path / 'test.jsonl'}", f"--output_dir={tmp_path / 'to'}"]
    )

    assert code == program.BAD_INPUT
    said = capsys.readouterr().err
    assert "PHI_QUANTIZE needs onnx" in said
    assert "pip install 'phi-assets[quantize]'" in said
