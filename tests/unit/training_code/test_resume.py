"""A run killed at any moment resumes from its last complete checkpoint and ends with identical weights."""

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.dying_run import MOMENTS, run, stopped
from tests.unit.training_code.conftest import arguments
from training_code.settings import Settings

pytestmark = pytest.mark.integration
Make = Callable[..., Settings]

# Dropout draws random numbers at each step, so the weights agree only when the generators were restored too.
HARD: dict[str, Any] = {"lora_dropout": 0.2, "save_seconds": 1e-6, "epochs": 2, "accumulation": 2, "packed_length": 188}
# One run dies of all of these, one after another; between them they are all the moments.
AGAIN = {
    "around the steps": ("between_steps", "before_the_mark", "in_the_evaluation", "after_the_last_step"),
    "while files are written": (
        "while_the_optimizer_is_written",
        "before_the_random_state_is_written",
        "while_old_ones_are_removed",
        "while_the_model_is_written",
        "while_the_results_are_moved",
    ),
}


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {"folder": tmp_path_factory.mktemp("undisturbed")}


@pytest.fixture
def expected(settings: Make, undisturbed: dict[str, Any]) -> str:
    """The digest of the weights of an uninterrupted run."""
    if "digest" not in undisturbed:
        folder = undisturbed["folder"]
        assert run(settings(output_dir=folder, **HARD), folder / "log") == 0
        steps = json.loads((folder / "report.json").read_text())["steps"]
        # The moments of death name steps: 7 ends the first epoch.
        assert steps == 14
        undisturbed["digest"] = digest(folder)
    return undisturbed["digest"]


# Each moment by itself is long: test_a_run_that_is_killed_again_and_again_still_gets_there dies of every one of them.
@pytest.mark.parametrize(
    "moment",
    [moment if moment == "between_steps" else pytest.param(moment, marks=pytest.mark.long) for moment in MOMENTS],
)
def test_a_killed_run_ends_in_the_weights_of_one_that_was_not(
    moment: str, settings: Make, expected: str, tmp_path: Path
):
    out, log = tmp_path / "out", tmp_path / "log"
    assert run(settings(**HARD), log, moment) == -9, log.read_text()
    assert not (out / "report.json").exists()
    assert run(settings(**HARD), log) == 0, log.read_text()
    assert_ended_well(out, expected)


def assert_ended_well(out: Path, expected: str) -> None:
    """The result equals that of an uninterrupted run, was resumed from a checkpoint, and has no leftover files."""
    assert digest(out) == expected
    report = json.loads((out / "report.json").read_text())
    assert report["resumed_from"]
    assert [entry["step"] for entry in report["losses"]] == list(range(1, 15))
    assert not (out / "checkpoints").exists()
    assert not (out / ".partial").exists()


def test_every_moment_is_died_of_again_and_again():
    assert {moment for moments in AGAIN.values() for moment in moments} == set(MOMENTS)


@pytest.mark.long
@pytest.mark.parametrize("moments", AGAIN.values(), ids=AGAIN)
def test_a_run_that_is_killed_again_and_again_still_gets_there(
    moments: tuple[str, ...], settings: Make, expected: str, tmp_path: Path
):
    out, log = tmp_path / "out", tmp_path / "log"
    for moment in moments:
        assert run(settings(**HARD), log, moment) == -9, (moment, log.read_text())
        assert not (out / "report.json").exists()
    assert run(settings(**HARD), log) == 0, log.read_text()
    assert_ended_well(out, expected)


def test_a_signal_stops_it_at_once_and_the_next_run_goes_on(settings: Make, tmp_path: Path):
    # More epochs than anybody waits for.
    given = arguments(settings(epochs=4000, save_seconds=0.1, max_train_minutes=None))
    log = tmp_path / "first"
    assert stopped(given, log, "checkpoint at step", signal.SIGTERM) == 143
    assert "stopped by SIGTERM" in log.read_text()
    assert list((tmp_path / "out" / "checkpoints").glob("checkpoint-*/complete.json"))

    log = tmp_path / "second"
    assert stopped(given, log, "resuming from step", signal.SIGINT) == 130
    assert "stopped by SIGINT" in log.read_text()


def test_a_run_that_stopped_early_does_not_train_on_after_a_kill(settings: Make, tmp_path: Path):
    from tests.unit.training_code.conftest import conversations, write_jsonl

    rows = [[row[0], {"role": "assistant", "content": "🙂🙂🙂"}] for row in conversations(4, seed=3)]
    against = write_jsonl(tmp_path / "against.jsonl", rows)
    given = HARD | {"epochs": 12, "learning_rate": 2e-2, "early_stopping_patience": 2, "warmup_share": 0.0}
    log = tmp_path / "log"
    assert run(settings(validation_file=against, output_dir=tmp_path / "whole", **given), log) == 0
    killed = settings(validation_file=against, **given)
    assert run(killed, log, "in_the_evaluation") == -9
    assert run(killed, log, "after_the_last_step") == -9
    assert run(killed, log) == 0
    whole, resumed = (json.loads((tmp_path / n / "report.json").read_text()) for n in ("whole", "out"))
    assert whole["stopped_early"]
    assert resumed["steps"] == whole["steps"] == resumed["resumed_from"]
    assert resumed["stopped_early"]
    assert resumed["best_step"] == whole["best_step"] < whole["steps"]
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_a_checkpoint_of_other_data_is_not_gone_on_from(settings: Make, corpus: Path, tmp_path: Path):
    log = tmp_path / "log"
    assert run(settings(**HARD), log, "between_steps") == -9
    more = tmp_path / "train.jsonl"
    more.write_text("".join((corpus / "train.jsonl").read_text().splitlines(keepends=True)[:-1]))
    assert run(settings(train_file=more, **HARD), log) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["resumed_from"] is None


def test_a_full_fine_tune_in_bf16_goes_on_bit_for_bit_too(settings: Make, tmp_path: Path):
    given = HARD | {"method": "full", "precision": "bf16-autocast", "learning_rate": 1e-3}
    log = tmp_path / "log"
    assert run(settings(output_dir=tmp_path / "whole", **given), log) == 0
    assert run(settings(**given), log, "between_steps") == -9
    assert run(settings(**given), log) == 0
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")
