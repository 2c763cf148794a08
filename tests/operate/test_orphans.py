import os
import subprocess
import sys
import time

import dagster as dg
import pytest

from phi_assets.operate.orphans import fail_dead_runs


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
