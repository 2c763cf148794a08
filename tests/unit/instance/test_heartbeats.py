"""A run whose host died is marked failed by whoever looks: its heartbeat has lapsed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import MockedRunLauncher

from phi_assets.backends.local.operations.file_heartbeats import FileHeartbeats
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.instance.dead_runs import fail_dead_runs
from tests.support.runs_of_ours import nothing

BEATING = """
import sys
from phi_assets.backends.local.operations.file_heartbeats import FileHeartbeats
with FileHeartbeats(state=sys.argv[1]).beat(sys.argv[2]):
    print("begun", flush=True)
    input()
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as made:
        yield made


@pytest.fixture
def heartbeats(tmp_path: Path) -> FileHeartbeats:
    return FileHeartbeats(state=str(tmp_path))


@pytest.fixture
def run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run that a process made itself, such as one of `dg launch`: Dagster knows no process of it."""
    return instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found.status


def test_a_run_is_marked_failed_when_its_process_was_killed_and_not_before(instance, heartbeats, run):
    command = [sys.executable, "-c", BEATING, heartbeats.state, run.run_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        assert fail_dead_runs(instance, heartbeats) == []
        process.kill()

    assert fail_dead_runs(instance, heartbeats) == [run.run_id]
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE
    assert heartbeats.lapsed() == []


def test_a_run_without_a_heartbeat_is_not_ours_and_is_never_judged(instance, heartbeats, run):
    assert fail_dead_runs(instance, heartbeats) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_the_heartbeat_of_a_run_in_another_history_stays_for_its_own_machine(instance, heartbeats, run):
    other = Path(heartbeats.state, "run_heartbeats", "0c0ffee0-0000-4000-8000-000000000000")
    other.parent.mkdir()
    other.touch()

    assert fail_dead_runs(instance, heartbeats) == []
    assert other.is_file()


def test_a_run_that_ended_has_no_heartbeat(heartbeats, run):
    with heartbeats.beat(run.run_id):
        assert heartbeats.lapsed() == []
    assert not list(Path(heartbeats.state, "run_heartbeats").iterdir())


def test_a_launcher_that_reports_health_decides_for_itself(tmp_path: Path, heartbeats, monkeypatch):
    monkeypatch.setattr(MockedRunLauncher, "supports_check_run_worker_health", True)
    launcher = {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher}) as instance:
        run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
        lapsed = Path(heartbeats.state, "run_heartbeats", run.run_id)
        lapsed.parent.mkdir()
        lapsed.touch()

        assert fail_dead_runs(instance, heartbeats) == []
        assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_run_has_a_heartbeat_while_it_makes_an_asset_and_none_afterwards(heartbeats, tmp_path: Path):
    found: list[str] = []

    @dg.asset
    def made(context: dg.AssetExecutionContext) -> str:
        found.extend(file.name for file in Path(heartbeats.state, "run_heartbeats").iterdir())
        assert found == [context.run.run_id]
        return "a value"

    records = RecordIOManager(folder=str(tmp_path / "records"), heartbeats=heartbeats)
    assert dg.materialize([made], resources={"io_manager": records}).success
    assert found
    assert not list(Path(heartbeats.state, "run_heartbeats").iterdir())
