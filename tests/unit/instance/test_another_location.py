"""Another code location in the same Dagster: its runs, pools and dead workers are neither looked at nor touched."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.backends.local.operations.file_heartbeats import FileHeartbeats
from phi_assets.graph.dagster_internals import newest_event
from phi_assets.graph.own_runs import own_runs
from phi_assets.graph.run_tags import FOLLOWED
from phi_assets.instance import home, quiet_runs, runs
from phi_assets.instance.dead_runs import IN_PROGRESS, fail_dead_runs
from phi_assets.models.retention_policy import DAY, Rules
from phi_assets.notifications import event_log
from phi_assets.settings import read
from tests.support.runs_of_ours import launched_run

OTHER = "another_project"
GONE = 2**22 - 1  # no process has this id


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def everything(instance: dg.DagsterInstance, pool: str) -> tuple[object, ...]:
    """Return all that Dagster knows of the runs and the pool."""
    records = instance.get_run_records()
    info = instance.event_log_storage.get_concurrency_info(pool)
    slots = {(each.run_id, each.step_key) for each in info.claimed_slots}
    events = {each.dagster_run.run_id: len(instance.all_logs(each.dagster_run.run_id)) for each in records}
    return [(each.dagster_run.run_id, each.dagster_run.status) for each in records], info.slot_count, slots, events


def test_its_dead_workers_and_its_pools_stay_as_they_are(instance: dg.DagsterInstance, tmp_path: Path):
    storage = instance.event_log_storage
    storage.set_concurrency_slots("theirs", 2)
    dead, ended = launched_run(instance, GONE, location=OTHER), launched_run(instance, GONE, location=OTHER)
    for run in (dead, ended):
        assert storage.claim_concurrency_slot("theirs", run.run_id, "a_step").is_claimed
    instance.report_run_failed(ended)
    before = everything(instance, "theirs")

    home.set_pools(instance)
    assert fail_dead_runs(instance, FileHeartbeats(state=str(tmp_path))) == []

    assert everything(instance, "theirs") == before


def test_its_runs_are_neither_waited_for_nor_counted(instance: dg.DagsterInstance):
    theirs = launched_run(instance, GONE, location=OTHER)
    instance.add_run_tags(theirs.run_id, FOLLOWED)
    ours = launched_run(instance, GONE)

    assert [run.run_id for run in own_runs(instance, dg.RunsFilter(statuses=IN_PROGRESS))] == [ours.run_id]
    assert theirs.run_id not in runs.under_way(instance)


def test_its_old_runs_are_not_removed_and_its_failures_are_no_alerts(instance: dg.DagsterInstance):
    start = newest_event(instance)
    theirs, ours = launched_run(instance, GONE, location=OTHER), launched_run(instance, GONE)
    for run in (theirs, ours):
        instance.report_run_failed(run)

    rules = Rules.of(read({}))
    nobody = quiet_runs.Named(set(), set(), set())
    later = time.time() + 1000 * DAY
    assert datetime.fromtimestamp(later, UTC) > datetime.now(UTC)
    assert [each.run_id for each in quiet_runs.removable(instance, nobody, rules, later)] == [ours.run_id]
    assert [each.run_id for each in event_log.since(instance, start).endings] == [ours.run_id]
