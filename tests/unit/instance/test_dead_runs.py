"""Runs whose process ended are marked failed: those that this project's code server started on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.instance.dead_runs import SEEN, fail_dead_runs
from phi_assets.own_processes import VARIABLE
from tests.support.runs_of_ours import launched_run, nothing


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


@pytest.fixture
def process() -> Iterator[subprocess.Popen]:
    """A process with a token of ours, as each run's is."""
    started = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, VARIABLE: "t"}
    )
    yield started
    if started.returncode is None:
        end(started)


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found.status


def test_a_run_is_marked_failed_when_its_process_ended(instance, process):
    run = launched_run(instance, process.pid)
    assert fail_dead_runs(instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED

    end(process)

    assert fail_dead_runs(instance) == [run.run_id]
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert json.loads(Path(instance.root_directory, SEEN).read_text()) == {}


def test_a_run_whose_process_was_never_seen_is_marked_failed(instance, process):
    run = launched_run(instance, process.pid)
    end(process)

    assert fail_dead_runs(instance) == [run.run_id]


@pytest.mark.parametrize("ended_before", [False, True])
def test_the_slots_of_a_run_whose_process_is_gone_are_free(instance, process, ended_before):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    storage = instance.event_log_storage
    storage.set_concurrency_slots("training", 1)
    run, alive = launched_run(instance, gone.pid), launched_run(instance, process.pid)
    storage.claim_concurrency_slot("training", run.run_id, "fine_tuned_model")
    storage.claim_concurrency_slot("training", alive.run_id, "fine_tuned_model")
    if ended_before:
        instance.report_run_failed(run)

    fail_dead_runs(instance)

    found = storage.get_concurrency_info("training")
    assert {step.run_id for step in (*found.claimed_slots, *found.pending_steps)} == {alive.run_id}


@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_a_step_of_the_clock_ends_no_run(instance, process, monkeypatch, step):
    run = launched_run(instance, process.pid)
    fail_dead_runs(instance)
    # psutil reads a start time as boot time plus ticks, and the boot time moves with the clock.
    begun = "psutil.Process.create_time"
    monkeypatch.setattr(begun, lambda self: step)
    monkeypatch.setattr("time.time", lambda: step)

    assert fail_dead_runs(instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_later_process_with_the_same_id_is_not_taken_for_the_run_s(instance, process):
    run = launched_run(instance, process.pid)
    fail_dead_runs(instance)
    Path(instance.root_directory, SEEN).write_text(json.dumps({run.run_id: [process.pid, "1"]}))

    assert fail_dead_runs(instance) == [run.run_id]


def test_a_process_without_a_token_of_ours_is_not_the_run_s(instance, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    foreign = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        run = launched_run(instance, foreign.pid)

        assert fail_dead_runs(instance) == [run.run_id]
        assert foreign.poll() is None
    finally:
        end(foreign)


@pytest.mark.parametrize("where", [{"on": "00000000"}, {"location": "another_project"}])
def test_a_run_of_another_machine_or_project_is_never_judged(instance, process, where):
    end(process)
    run = launched_run(instance, process.pid, **where)

    assert fail_dead_runs(instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_run_of_another_launcher_is_never_judged(tmp_path, process):
    end(process)
    launcher = {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher}) as instance:
        run = launched_run(instance, process.pid)

        assert fail_dead_runs(instance) == []
        assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_run_that_a_process_made_itself_is_never_judged(instance):
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)

    assert fail_dead_runs(instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_run_that_has_no_process_yet_is_left_to_dagsters_own_time_out(instance):
    run = launched_run(instance, None, status=dg.DagsterRunStatus.STARTING)

    assert fail_dead_runs(instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTING


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"a": 1}'])
def test_a_damaged_note_of_processes_is_made_again(instance, process, damage):
    run = launched_run(instance, process.pid)
    Path(instance.root_directory, SEEN).write_text(damage)

    assert fail_dead_runs(instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED
