"""`python -m serving_code` as a process: it listens at once, stops gracefully, and reports why it cannot serve."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from serving_code.__main__ import find_model

PROJECT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.integration


class Program:
    """A process of the program with its log, stopped at the end of the test."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        reader, writer = os.pipe()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SERVING_", "AZUREML_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving_code", "--port", "0", *arguments],
            cwd=PROJECT,
            env={**kept, **environment},
            stderr=writer,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),  # as a shell's background job has it
        )
        os.close(writer)
        self.lines: list[str] = []
        self._log = os.fdopen(reader, encoding="utf-8")
        self._reader = threading.Thread(target=lambda: self.lines.extend(self._log))
        self._reader.start()

    def logged(self, name: str) -> dict:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [json.loads(line) for line in list(self.lines) if f'"event": "{name}"' in line]
            if found:
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"no {name} in {self.lines}")

    def url(self) -> str:
        return f"http://127.0.0.1:{self.logged('listening')['port']}"

    def close(self) -> int:
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        self._reader.join()
        self._log.close()
        return code


@pytest.fixture
def start():
    started = []

    def run(*arguments: str, **environment: str) -> Program:
        started.append(Program(*arguments, **environment))
        return started[-1]

    yield run
    for program in started:
        program.close()


def test_it_answers_while_it_loads_then_serves_and_finishes_its_answers_when_told_to_stop(start, endless_model):
    program = start("--model-name", "tiny", AZUREML_MODEL_DIR=str(endless_model), SERVING_KEY="k")
    url = program.url()

    assert httpx.get(f"{url}/livez").status_code == 200
    loading = httpx.get(f"{url}/readyz")
    assert loading.status_code == 503

    program.logged("ready")
    assert httpx.get(f"{url}/readyz").status_code == 200
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 400, "temperature": 0}
    body["stream"] = True
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers={"Authorization": "Bearer k"}) as answer:
        lines = answer.iter_lines()
        next(lines)
        program.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]

    assert rest[-1] == "data: [DONE]"
    assert sum('"content": "\\n"' in line for line in rest) > 100
    assert program.process.wait(30) == 0
    assert "stopped" in program.lines[-1]


def test_a_model_that_cannot_be_loaded_ends_the_program_with_the_reason(start, tmp_path):
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "code.Model"}}')

    program = start("--model", str(tmp_path))

    assert program.process.wait(60) == 1
    assert "auto_map" in program.logged("loading_failed")["error"]


@pytest.mark.parametrize(
    ("arguments", "reason"), [((), "pass --model DIR"), (("--model", "/nowhere"), "/nowhere holds 0 folders")]
)
def test_no_model_is_one_clear_line(start, arguments, reason):
    program = start(*arguments)

    assert program.process.wait(60) == 2
    program.close()
    assert reason in program.lines[0]
    assert len(program.lines) == 1


def test_a_port_that_is_taken_is_one_clear_line(start, server, endless_model):
    program = start("--model", str(endless_model), "--port", server.url.rsplit(":", 1)[1])

    assert program.process.wait(60) == 2
    program.close()
    assert "in use" in program.lines[0]


def test_the_only_model_below_a_mount_is_found(tmp_path):
    (tmp_path / "mounted" / "model").mkdir(parents=True)
    (tmp_path / "mounted" / "model" / "config.json").write_text("{}")

    assert find_model(tmp_path) == tmp_path / "mounted" / "model"


def test_two_models_below_a_mount_are_not_guessed_between(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")

    with pytest.raises(FileNotFoundError, match="holds 2 folders"):
        find_model(tmp_path)


def test_the_server_imports_neither_the_project_nor_dagster_and_torch_only_when_it_loads():
    code = (
        "import sys, serving_code.__main__, serving_code.server, serving_code.openai_api, serving_code.score_api\n"
        "print([name for name in sys.modules if name.startswith(('phi_assets', 'dagster', 'torch', 'transformers'))])"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
