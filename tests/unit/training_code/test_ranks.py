"""Two processes learn what one learns, from the same rows in the same steps, and go on where another number stopped."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.dying_run import run, run_together
from tests.unit.training_code.conftest import arguments
from training_code.cloud import PROGRAM
from training_code.settings import Settings

pytestmark = pytest.mark.integration
Make = Callable[..., Settings]

# Five rows to a step do not divide evenly between two, and neither do the rows of the last step of an epoch.
CASES: dict[str, dict[str, Any]] = {
    "an adapter on packed rows and replay": {"accumulation": 5, "packed_length": 64, "replay_share": 0.3},
    "all weights on padded batches": {"method": "full", "packing": False, "batch_size": 5},
}
# At every step a checkpoint; the run that dies does so in step 4.
OFTEN: dict[str, Any] = {"save_seconds": 1e-6, "early_stopping_patience": 0, "keep_checkpoints": 9}


def report_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def assert_same_losses(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert [each["step"] for each in two["losses"]] == [each["step"] for each in one["losses"]]
    for name in ("losses", "validation_losses"):
        expected = [each["loss"] for each in one[name]]
        assert [each["loss"] for each in two[name]] == pytest.approx(expected, abs=1e-4), name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of runs of one process, by case."""
    return {case: tmp_path_factory.mktemp("alone") / "out" for case in CASES}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, settings: Make, finished: dict[str, Path], corpus: Path) -> tuple[Make, Any]:
    """A function that returns the settings of a case, and the report of one process with them."""

    def make(**given: Any) -> Settings:
        return settings(**OFTEN, **CASES[request.param], replay_file=corpus / "validation.jsonl", **given)

    out = finished[request.param]
    if not out.exists():
        log = out.parent / "log"
        assert run(make(output_dir=out), log) == 0, log.read_text()
    return make, report_in(out)


def test_two_processes_have_the_losses_of_one(case: tuple[Make, Any], tmp_path: Path):
    make, one = case
    log = tmp_path / "log"
    assert run_together(2, make(), log) == [0, 0], log.read_text()

    two = report_in(tmp_path / "out")
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["steps"] >= 8
    assert_same_losses(one, two)
    assert "5 rows, which do not divide evenly among 2 processes: in each step 1" in log.read_text()
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_two_go_on_where_one_stopped_and_one_where_two_stopped(case: tuple[Make, Any], tmp_path: Path):
    make, one = case
    log = tmp_path / "log"
    if make().method == "lora":
        assert run(make(), log, "between_steps") == -9, log.read_text()
        assert run_together(2, make(), log) == [0, 0], log.read_text()
    else:
        assert run_together(2, make(), log, "between_steps") == [-9, -9], log.read_text()
        assert run(make(), log) == 0, log.read_text()

    resumed = report_in(tmp_path / "out")
    assert resumed["resumed_from"] in (3, 4)
    assert_same_losses(one, resumed)


def command(settings: Settings) -> list[str]:
    return [sys.executable, str(PROGRAM), *arguments(settings)]


def test_the_program_starts_its_ranks_and_one_reports_for_all(settings: Make):
    made = settings(processes=2, method="qlora")  # refused by every rank
    done = subprocess.run(command(made), capture_output=True, text=True, timeout=240)

    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout.count("error: method = qlora needs a CUDA GPU") == 1
    assert "stopped by" not in done.stderr


@pytest.mark.long
def test_a_signal_stops_every_rank_and_the_next_start_goes_on(settings: Make, tmp_path: Path):
    made = settings(processes=2, epochs=4000, save_seconds=0.1)
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command(made), stdout=file, stderr=subprocess.STDOUT)
        try:
            while "checkpoint at step" not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            ranks = psutil.Process(process.pid).children()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 143
        finally:
            process.kill()
    assert len(ranks) == 2
    assert not psutil.wait_procs(ranks, 5)[1]
    assert log.read_text().count("stopped by SIGTERM") == 1

    done = subprocess.run([*command(made), "--max_train_minutes=1e-6"], capture_output=True, text=True, timeout=240)
    assert "resuming from step" in done.stdout
