"""Reads from Dagster's event log, after a position, the runs that ended and the checks reported outside any run.

A storage may have a log for each run, and across runs only their ends and the last execution of each check. Therefore
this module polls for the ends of runs, and then reads the rest of each run. The sensor `dead_run_monitor` marks a run
that never ends as failed. Runs of other code locations are not read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets import markdown
from phi_assets.graph import check_gates
from phi_assets.graph.asset_keys import name_of
from phi_assets.graph.dagster_internals import ended_after, events_of_run, last_evaluations, newest_event
from phi_assets.graph.own_runs import LOCATION, is_own
from phi_assets.notifications.step_errors import Error, of_run, of_step

Kind = dg.DagsterEventType
ENDINGS = (Kind.RUN_SUCCESS, Kind.RUN_FAILURE, Kind.RUN_CANCELED)
OF_A_RUN = frozenset({*ENDINGS, Kind.RUN_CANCELING, Kind.STEP_SUCCESS, Kind.STEP_FAILURE, Kind.ASSET_CHECK_EVALUATION})
AT_ONCE = 50
PAGE = 1000


@dataclass(frozen=True)
class CheckEvaluation:
    """The result of a check. `subject` is the version that it evaluated; empty if it names none."""

    asset: str
    check: str
    subject: str
    passed: bool
    blocking: bool
    warning: bool
    description: str


@dataclass(frozen=True)
class Step:
    """The end of a step. `error` is None for a success."""

    name: str
    error: Error | None


@dataclass(frozen=True)
class Ending:
    """A run that ended, with its steps and checks; or, with an empty run id, checks that were reported without a run.

    `error` is the error of a run that failed without a failed step.
    """

    storage_id: int
    run_id: str
    first_run: str
    job: str
    canceled: bool
    verdicts: tuple[CheckEvaluation, ...]
    steps: tuple[Step, ...] = ()
    error: Error | None = None


@dataclass(frozen=True)
class News:
    """Ended runs in order, and the position after the last of them."""

    endings: tuple[Ending, ...]
    position: int


def newest(instance: dg.DagsterInstance) -> int:
    """Return the position of the newest event."""
    return newest_event(instance)


def since(instance: dg.DagsterInstance, position: int, location: str = LOCATION) -> News:
    """Return the code location's runs that ended after the position, at most about `AT_ONCE` of each kind."""
    pages = [ended_after(instance, position, kind, AT_ONCE) for kind in ENDINGS]
    # If the page of one kind is full, its next events may precede those on the page of another kind.
    known_until = min((max(page) for page in pages if len(page) == AT_ONCE), default=None)
    found = {number: entry for page in pages for number, entry in page.items()}
    here = [number for number in sorted(found) if known_until is None or number <= known_until]
    endings = [_ending(instance, number, found[number], location) for number in here]
    return News(tuple(filter(None, endings)), max(here, default=position))


def reported(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], after: int | None, position: int
) -> tuple[list[Ending], int]:
    """Return the newest results of checks that were reported outside any run after execution `after`, and the newest
    execution. None: no results. `position` is that in the event log.
    """
    found = last_evaluations(instance, checks)
    by_hand = [found[number][1] for number in sorted(found) if after is not None and number > after]
    endings = [Ending(position, "", "", "", False, (_verdict(each),)) for each in by_hand if not each.run_id]
    return endings, max(found, default=after or 0)


def _ending(instance: dg.DagsterInstance, number: int, entry: dg.EventLogEntry, location: str) -> Ending | None:
    """Return None for a run of another code location, or that was deleted, or had ended: only its first end counts."""
    run = instance.get_run_by_id(entry.run_id)
    if run is None or not is_own(run, location):
        return None
    events = list(_events(instance, entry.run_id))
    ends = [each for each in events if each.get_dagster_event().event_type in ENDINGS]
    if not ends or ends[0].timestamp != entry.timestamp:
        return None
    by_kind: dict[Any, list[dg.EventLogEntry]] = {}
    for each in events:
        by_kind.setdefault(each.get_dagster_event().event_type, []).append(each)
    # A run whose process dies during cancellation is marked as failed, but counts as cancelled.
    canceled = ends[0].get_dagster_event().event_type == Kind.RUN_CANCELED or Kind.RUN_CANCELING in by_kind
    latest = {(each.asset, each.check): each for each in map(_verdict, by_kind.get(Kind.ASSET_CHECK_EVALUATION, []))}
    failed = ends[0].get_dagster_event().event_type == Kind.RUN_FAILURE and Kind.STEP_FAILURE not in by_kind
    return Ending(
        storage_id=number,
        run_id=run.run_id,
        first_run=run.root_run_id or run.run_id,
        job=run.job_name,
        canceled=canceled,
        verdicts=tuple(latest.values()),
        steps=tuple(_steps(events)),
        error=of_run(ends[0].get_dagster_event()) if failed else None,
    )


def _events(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.EventLogEntry]:
    cursor, more = None, True
    while more:
        page = events_of_run(instance, run_id, set(OF_A_RUN), cursor, PAGE)
        yield from (record.event_log_entry for record in page.records)
        cursor, more = page.cursor, page.has_more


def _steps(events: list[dg.EventLogEntry]) -> Iterator[Step]:
    for entry in events:
        event = entry.get_dagster_event()
        if event.event_type in (Kind.STEP_SUCCESS, Kind.STEP_FAILURE) and event.step_key:
            failed = event.event_type == Kind.STEP_FAILURE
            yield Step(event.step_key, of_step(event) if failed else None)


def _verdict(entry: dg.EventLogEntry) -> CheckEvaluation:
    data = entry.get_dagster_event().asset_check_evaluation_data
    subject = data.metadata.get(check_gates.SUBJECT)
    return CheckEvaluation(
        asset=name_of(data.asset_key),
        check=data.check_name,
        subject=str(subject.value) if subject else "",
        passed=data.passed,
        blocking=bool(data.blocking) and data.severity != dg.AssetCheckSeverity.WARN,
        warning=data.severity == dg.AssetCheckSeverity.WARN,
        description=markdown.plain(data.description or ""),
    )
