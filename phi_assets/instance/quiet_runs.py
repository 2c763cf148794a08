"""Which finished runs of Dagster are of no use any more, and their removal with what Dagster leaves on disk."""

import shutil
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.backends.home_storage import size_of
from phi_assets.graph import check_gates
from phi_assets.graph.dagster_internals import events_of_run, last_check_run
from phi_assets.graph.own_runs import is_own
from phi_assets.models.retention_policy import DAY, Rules, short

TELLING = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class NotRemovable(RuntimeError):
    """This Dagster removes its runs itself, as Dagster+ does, or cannot now."""


@dataclass(frozen=True)
class OldRun:
    """A run that is removed: its id, its job, and why."""

    run_id: str
    job: str
    reason: str


@dataclass
class Named:
    """What keeps a run: its id, the digest of something that it made or judged, or the model that it deployed."""

    runs: Set[str]
    digests: Set[str] = field(metadata={"doc": "shortened by `short`"})
    deployed: Set[str] = field(metadata={"doc": "name and version of models that kept answers are from"})


def removable(instance: dg.DagsterInstance, named: Named, rules: Rules, now: float) -> list[OldRun]:
    """Return the project's finished runs that made nothing or nothing that is kept, and are old enough.

    The newest materialisation, observation and check of each asset stay, whatever their age.
    """
    newest = _Newest(instance)
    found = []
    first = min(rules.days, rules.quiet_days)
    before = datetime.fromtimestamp(now - first * DAY, UTC)
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=ENDED, updated_before=before)):
        run, ended = record.dagster_run, record.end_time or record.update_timestamp.timestamp()
        if run.run_id in named.runs or not is_own(run):
            continue
        made, needed = _read(instance, run.run_id, named, newest)
        days = rules.days if made else rules.quiet_days
        if not needed and now - ended > days * DAY:
            what = "made nothing that is kept" if made else "made nothing"
            found.append(OldRun(run.run_id, run.job_name, f"{what}, and ended more than {days:g} days ago"))
    return found


def size_of_run(dagster_home: Path, run_id: str) -> int:
    """Return the bytes of the run's events and logs on this machine."""
    return sum(map(size_of, _files(dagster_home, run_id)))


def remove_run(instance: dg.DagsterInstance, dagster_home: Path, records: Path, run_id: str) -> None:
    """Delete the run from Dagster, and its files: Dagster's SQLite storage leaves them. Raises NotRemovable."""
    try:
        instance.delete_run(run_id)
    except Exception as e:  # Dagster+ raises Exception
        raise NotRemovable(f"Dagster does not remove its runs: {e}") from e
    for path in (*_files(dagster_home, run_id), records / "steps" / run_id):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def orphans(instance: dg.DagsterInstance, dagster_home: Path, now: float) -> list[str]:
    """Return the ids of runs whose files outlived an interrupted removal."""
    return [
        path.stem
        for path in (dagster_home / "history" / "runs").glob("????????-*.db")
        if now - path.stat().st_mtime > DAY and instance.get_run_by_id(path.stem) is None
    ]


def old_logs(dagster_home: Path, days: float, now: float) -> list[Path]:
    """Return the folders of captured output that are older than `days`."""
    found = (dagster_home / "storage").glob("*/compute_logs")
    return [folder.parent for folder in found if now - folder.stat().st_mtime > days * DAY]


def _files(dagster_home: Path, run_id: str) -> list[Path]:
    events = dagster_home / "history" / "runs"
    return [
        *(events / f"{run_id}.db{end}" for end in ("", "-wal", "-shm", "-journal")),
        dagster_home / "storage" / run_id,
    ]


def _read(instance: dg.DagsterInstance, run_id: str, named: Named, newest: "_Newest") -> tuple[bool, bool]:
    """Return whether the run materialised something, and whether anything that it reported is still needed."""
    made = needed = False
    for event in _events(instance, run_id):
        made = made or event.is_step_materialization
        needed = needed or newest.is_from(run_id, event) or _is_named(event, named)
    return made, needed


def _is_named(event: dg.DagsterEvent, named: Named) -> bool:
    if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        data: Any = event.event_specific_data
        subject = data.metadata.get(check_gates.SUBJECT)
        return subject is not None and short(str(subject.value)) in named.digests
    if not event.is_step_materialization:
        return False
    made = event.step_materialization_data.materialization
    values: Mapping[str, Any] = {name: value.value for name, value in made.metadata.items()}
    digests = [(made.tags or {}).get(check_gates.DATA_VERSION), values.get("model_digest")]
    return any(short(each) in named.digests for each in digests if each) or values.get("model") in named.deployed


def _events(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.DagsterEvent]:
    cursor = None
    while True:
        page = events_of_run(instance, run_id, TELLING, cursor)
        for record in page.records:
            if record.event_log_entry.dagster_event:
                yield record.event_log_entry.dagster_event
        if not page.has_more:
            return
        cursor = page.cursor


class _Newest:
    """The runs that reported the newest materialisation, observation and check of an asset, each read once."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.known: dict[tuple[str, Any], str] = {}

    def is_from(self, run_id: str, event: dg.DagsterEvent) -> bool:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            data: Any = event.event_specific_data
            key: Any = dg.AssetCheckKey(data.asset_key, data.check_name)
        else:
            key = event.asset_key
        kind = event.event_type_value
        if (kind, key) not in self.known:
            self.known[kind, key] = self._run_of(kind, key)
        return self.known[kind, key] == run_id

    def _run_of(self, kind: str, key: Any) -> str:
        if kind == "ASSET_CHECK_EVALUATION":
            return last_check_run(self.instance, key)
        fetch = (
            self.instance.fetch_materializations
            if kind == "ASSET_MATERIALIZATION"
            else self.instance.fetch_observations
        )
        records = fetch(key, limit=1).records
        return records[0].run_id if records else ""
