import os
import subprocess
import sys
import time

import dagster as dg
import pytest

from phi_assets.instance.dead_runs import fail_dead_runs


@dg.job
def nothing():
    pass


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def started_run(instance: dg.DagsterInstance, pid: int) -> dg.DagsterRun:
    """A run that Dagster believes to be going in the process `pid`."""
    from dagster._core.events import EngineEventData

    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData())
    return run


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found.status


def test_a_run_whose_process_is_gone_is_marked_failed(instance):
    run = started_run(instance, ended_process())

    assert fail_dead_runs(instance) == [run.run_id]
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("ended_before", [False, True])
def test_the_slots_of_a_run_whose_process_is_gone_are_free(tmp_path, ended_before):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("training", 1)
        run, alive = started_run(instance, ended_process()), started_run(instance, os.getpid())
        storage.claim_concurrency_slot("training", run.run_id, "fine_tuned_model")
        storage.claim_concurrency_slot("training", alive.run_id, "fine_tuned_model")
        if ended_before:
            instance.report_run_failed(run)

        fail_dead_runs(instance)

        found = storage.get_concurrency_info("training")
        assert {step.run_id for step in (*found.claimed_slots, *found.pending_steps)} == {alive.run_id}


def test_a_run_whose_process_lives_is_left_alone(instance):
    run = started_run(instance, os.getpid())

    assert fail_dead_runs(instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_later_process_with_the_same_id_does_not_count(instance, monkeypatch):
    run = started_run(instance, os.getpid())
    monkeypatch.setattr("psutil.Process.create_time", lambda self: time.time() + 60)

    assert fail_dead_runs(instance) == [run.run_id]


def test_a_run_that_has_no_process_yet_is_left_to_dagsters_own_time_out(instance):
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTING)

    assert fail_dead_runs(instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTING
