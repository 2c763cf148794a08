"""Runs whose process or host died. Dagster's default launcher does not notice it, and they would block later ones."""

import json
import re
from pathlib import Path

import dagster as dg

from phi_assets.errors import BackendError
from phi_assets.files import atomic_write
from phi_assets.graph.dagster_internals import (
    fail_run,
    free_slots_of_ended_runs,
    is_default_launcher,
    location_of_run,
    log_of_run,
    reports_health,
    runs,
    socket_of_run,
)
from phi_assets.instance.home import POOLS
from phi_assets.instance.supervisor import SOCKET_FOLDER
from phi_assets.own_processes import VARIABLE, Process, machine
from phi_assets.ports.heartbeats import RunHeartbeats
from phi_assets.project import LOCATION

STARTED = re.compile(r"\(pid: (\d+)\)")
SEEN = "run_processes.json"
IN_PROGRESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def fail_dead_runs(instance: dg.DagsterInstance, heartbeats: RunHeartbeats | None = None) -> list[str]:
    """Mark runs as failed whose process does not exist any more, or whose heartbeat lapsed; return their ids.

    Judged by their process are only runs that the default launcher started in this machine's code server, for this
    project. Each run's process is recorded at its first judgement: a reused process id is not taken for it. Judged by
    their heartbeat are runs of any machine that have one, and no others.
    """
    if reports_health(instance):  # such a launcher knows by itself how its runs are
        return []
    dead = _fail_without_process(instance) if is_default_launcher(instance) else []
    if heartbeats:
        dead += _fail_without_heartbeat(instance, heartbeats)
        heartbeats.forget(dead)
    free_slots_of_ended_runs(instance, POOLS)
    return dead


def _fail_without_process(instance: dg.DagsterInstance) -> list[str]:
    seen = Path(instance.root_directory) / SEEN
    known = _read(seen)
    found: dict[str, Process] = {}
    dead = []
    for run in runs(instance, dg.RunsFilter(statuses=IN_PROGRESS)):
        pid = _process_of(instance, run.run_id) if _ran_here(run) else None
        if pid is None:
            continue
        process = known.get(run.run_id) or _ours(pid)
        if process and process.alive:
            found[run.run_id] = process
            continue
        fail_run(instance, run, f"process {pid} of this run ended; the assets that it finished stay")
        dead.append(run.run_id)
    if found != known:
        kept = {run_id: [process.pid, process.start] for run_id, process in found.items()}
        atomic_write(seen, json.dumps(kept), mode=0o600)
    return dead


def _fail_without_heartbeat(instance: dg.DagsterInstance, heartbeats: RunHeartbeats) -> list[str]:
    if not runs(instance, dg.RunsFilter(statuses=IN_PROGRESS), limit=1):
        return []  # without a request to the backend
    try:
        lapsed = heartbeats.lapsed()
    except BackendError:  # looked at again the next time
        return []
    dead = runs(instance, dg.RunsFilter(run_ids=lapsed, statuses=IN_PROGRESS)) if lapsed else []
    for run in dead:
        fail_run(instance, run, "this run's process or its host died; the assets that it finished stay")
    return [run.run_id for run in dead]


def _ran_here(run: dg.DagsterRun) -> bool:
    """Whether this machine's code server of this project started the run: its socket names the machine."""
    folder = Path(socket_of_run(run)).parent.name
    return location_of_run(run) == LOCATION and folder.startswith(SOCKET_FOLDER.format(machine=machine()))


def _process_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """Return the run's process id; None while the run has no process yet."""
    for record in log_of_run(instance, run_id, dg.DagsterEventType.ENGINE_EVENT):
        matched = STARTED.search(record.user_message or record.message or "")
        if matched:
            return int(matched.group(1))
    return None


def _ours(pid: int) -> Process | None:
    """Return the process of this id when it has a token of ours; None when another took the id, or it ended."""
    import psutil

    try:
        return Process.of(pid) if VARIABLE in psutil.Process(pid).environ() else None
    except (ProcessLookupError, psutil.Error, OSError):
        return None


def _read(seen: Path) -> dict[str, Process]:
    try:
        return {run: Process(*process) for run, process in json.loads(seen.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
