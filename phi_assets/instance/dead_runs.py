"""Runs whose process ended. Dagster's default launcher does not notice it, and such runs would block later ones."""

import re

import dagster as dg
import psutil

from phi_assets.graph.dagster_internals import fail_run, free_slots_of_ended_runs, log_of_run, runs

STARTED = re.compile(r"\(pid: (\d+)\)")
IN_PROGRESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process does not exist any more, and return their ids."""
    dead = []
    for run in runs(instance, dg.RunsFilter(statuses=IN_PROGRESS)):
        found = _process_of(instance, run.run_id)
        if found is None or _lives(*found):
            continue
        fail_run(instance, run, f"process {found[0]} of this run ended; the assets that it finished stay")
        dead.append(run.run_id)
    free_slots_of_ended_runs(instance)
    return dead


def _process_of(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """Return the run's process id and the time of its event; None while the run has no process yet."""
    for record in log_of_run(instance, run_id, dg.DagsterEventType.ENGINE_EVENT):
        matched = STARTED.search(record.user_message or record.message or "")
        if matched:
            return int(matched.group(1)), record.timestamp
    return None


def _lives(pid: int, seen: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A process that started after that event is another one with a reused id.
        return process.create_time() <= seen + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
