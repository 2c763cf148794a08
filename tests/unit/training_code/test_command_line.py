"""The script as a process: bare, stopped by signals, and under Dagster Pipes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_code.conftest import arguments
from training_code.settings import Settings

pytestmark = [
    pytest.mark.integration,
    # Dagster's own Pipes client uses names that Dagster calls deprecated, or preview.
    pytest.mark.filterwarnings("ignore:Function .PipesMessageReader:Warning"),
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"),
]
ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "training_code" / "fine_tune.py"
Make = Callable[..., Settings]


def start(*given: str, cwd: Path = ROOT, script: Path = SCRIPT) -> "subprocess.Popen[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "DAGSTER"))}
    return subprocess.Popen(
        [sys.executable, str(script), *given],
        cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    text, _ = process.communicate(timeout=240)
    return process.returncode, text


def test_help_tells_the_settings(tmp_path: Path):
    code, text = finish(start("--help", cwd=tmp_path))
    assert code == 0
    assert "--learning_rate VALUE" in text


def test_a_wrong_setting_ends_with_code_2_and_one_line(tmp_path: Path):
    code, text = finish(start("--config", "laptop", "--epoch", "3", cwd=tmp_path))
    assert code == 2
    assert text == "error: unknown setting '--epoch' on the command line; did you mean --epochs?\n"


def test_it_runs_bare_from_any_folder_under_any_name(settings: Make, tmp_path: Path):
    copy = tmp_path / "uploaded"
    shutil.copytree(SCRIPT.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    made = settings(tune_malloc=True, log_seconds=0.2)
    code, text = finish(start(*arguments(made), cwd=tmp_path, script=copy / "fine_tune.py"))
    assert code == 0, text
    assert "steps left, about" in text
    assert "tokens/s" in text
    assert "Warning" not in text
    assert json.loads((tmp_path / "out" / "report.json").read_text())["steps"] > 0


# test_resume.py::test_a_signal_stops_it_at_once_and_the_next_run_goes_on proves it of all but the program's start.
@pytest.mark.long
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_script_at_once(settings: Make, tmp_path: Path, number: signal.Signals, expected: int):
    made = settings(epochs=400, save_seconds=0.1, max_train_minutes=None)
    process = start(*arguments(made))
    assert process.stdout is not None
    for line in process.stdout:
        if "checkpoint at step" in line:
            break
    process.send_signal(number)
    code, text = finish(process)
    assert code == expected
    assert f"stopped by {number.name}" in text
    assert list((tmp_path / "out" / "checkpoints").glob("checkpoint-*/complete.json"))


def test_under_dagster_pipes_the_run_log_shows_how_it_goes(settings: Make, tmp_path: Path):
    import dagster as dg

    made = settings(log_seconds=0.02)

    @dg.asset
    def tuned(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult[Any]:
        done = pipes.run(command=[sys.executable, str(SCRIPT), *arguments(made)], context=context)
        report = json.loads((made.output_dir / "report.json").read_text())
        assert done.get_custom_messages()
        return dg.MaterializeResult(metadata={"steps": report["steps"]})

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([tuned], instance=instance, resources={"pipes": dg.PipesSubprocessClient()})
        log = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert result.success
    lines = [line for line in log if "tokens/s" in line and "loss" in line and " GB " in line]
    assert lines
    assert [m for m in result.asset_materializations_for_node("tuned") if m.metadata["steps"].value]


def test_under_dagster_pipes_a_run_over_the_limit_ends_with_code_3_and_its_reason(settings: Make):
    import dagster as dg

    made = settings(max_train_minutes=0.001, epochs=500)

    @dg.asset
    def tuned(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult[Any]:
        pipes.run(command=[sys.executable, str(SCRIPT), *arguments(made)], context=context)
        return dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"pipes": dg.PipesSubprocessClient()}
        result = dg.materialize([tuned], instance=instance, resources=resources, raise_on_error=False)
        log = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert not result.success
    failure = result.failure_data_for_node("tuned")
    assert failure
    assert "process failed with code 3" in str(failure.error)
    assert any("max_train_minutes is 0.001" in line for line in log)
