"""Runs whose process is gone. Dagster's default launcher does not notice them; they would block what follows."""

import re

import dagster as dg
import psutil

STARTED = re.compile(r"\(pid: (\d+)\)")
IN_PROGRESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Ids of the runs that were marked failed, because the process that they ran in does not exist any more."""
    dead = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=IN_PROGRESS)):
        found = _process_of(instance, run.run_id)
        if found is None or _lives(*found):
            continue
        instance.report_run_failed(run, f"process {found[0]} of this run is gone; what it had finished is kept")
        dead.append(run.run_id)
    _free_slots_of_ended_runs(instance)
    return dead


def _free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    """No run that ended holds a slot of a pool: a killed one gave none back, and the next would wait for ever."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for pool in storage.get_concurrency_keys():
        found = storage.get_concurrency_info(pool)
        for run_id in {each.run_id for each in (*found.claimed_slots, *found.pending_steps)}:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(run_id)


def _process_of(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """Process id and time of the event that tells it; None while the run has no process yet."""
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        matched = STARTED.search(record.user_message or record.message or "")
        if matched:
            return int(matched.group(1)), record.timestamp
    return None


def _lives(pid: int, seen: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A process made after the run said its id is another one that got the same id.
        return process.create_time() <= seen + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
