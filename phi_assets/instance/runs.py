"""Submit runs through Dagster's GraphQL client, and follow them in its event log."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets import markdown
from phi_assets.graph.asset_keys import key_of, name_of
from phi_assets.graph.dagster_internals import events_of_run
from phi_assets.graph.own_runs import own_runs
from phi_assets.graph.run_tags import BY_COMMAND, FOLLOWED
from phi_assets.instance.dead_runs import fail_dead_runs
from phi_assets.instance.server import DagsterNotReady, Interface

POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0
ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}

WARN = dg.AssetCheckSeverity.WARN

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Outcome:
    """A run's final status, its errors, and the seconds of each of its steps and assets."""

    run_id: str
    status: dg.DagsterRunStatus
    seconds: dict[str, float]
    errors: tuple[str, ...]

    @property
    def ended_well(self) -> bool:
        return self.status == dg.DagsterRunStatus.SUCCESS


def submit(
    interface: Interface, job: str, assets: list[str] | None = None, config: Mapping[str, Any] | None = None
) -> str:
    """Start a run of the job, or of some of its assets, and return its id. The UI shows it live, and can cancel it.

    Raises DagsterNotReady when Dagster refuses it.
    """
    from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

    client = DagsterGraphQLClient("127.0.0.1", port_number=interface.port)
    tags = {**FOLLOWED, **BY_COMMAND}
    keys = None if assets is None else [key_of(name) for name in assets]
    try:
        return client.submit_job_execution(job, run_config=dict(config or {}), tags=tags, asset_selection=keys)
    except (DagsterGraphQLClientError, KeyError) as e:  # KeyError: an answer without the message that the client reads
        raise DagsterNotReady(
            f"Dagster refused a run of job {job} with {', '.join(assets or ['all its assets'])} ({e}); "
            f"{interface.address}/locations shows whether the definitions are loaded"
        ) from e


def cancel(interface: Interface, run_id: str) -> None:
    """Cancel a run."""
    from dagster_graphql import DagsterGraphQLClient

    DagsterGraphQLClient("127.0.0.1", port_number=interface.port).terminate_run(run_id)


def under_way(instance: dg.DagsterInstance) -> list[str]:
    """Return the ids of unfinished runs of an earlier `phi run`."""
    open_statuses = [status for status in dg.DagsterRunStatus if status not in ENDED]
    return [run.run_id for run in own_runs(instance, dg.RunsFilter(statuses=open_statuses, tags=FOLLOWED))]


def follow(instance: dg.DagsterInstance, run_id: str, say: Say) -> Outcome:
    """Report the run's events through `say` until it ends."""
    started: dict[str, float] = {}
    seconds: dict[str, float] = {}
    errors: list[str] = []
    for event in _events(instance, run_id):
        step = event.step_key or ""
        kind = event.dagster_event_type.value if event.dagster_event_type else ""
        if kind == "STEP_START":
            started[step] = event.timestamp
            say(step, "started")
        elif kind in ("STEP_SUCCESS", "STEP_FAILURE") and step in started:
            seconds[step] = event.timestamp - started[step]
            say(step, f"{'done' if kind == 'STEP_SUCCESS' else 'failed'} in {seconds[step]:.1f} s")
        elif kind == "ASSET_MATERIALIZATION" and step in started:
            made = event.get_dagster_event().asset_key
            if made:  # one step may make several assets
                seconds[name_of(made)] = event.timestamp - started[step]
        elif kind == "ASSET_CHECK_EVALUATION":
            data = event.get_dagster_event().asset_check_evaluation_data
            verdict = "passed" if data.passed else "warning" if data.severity == WARN else "FAILED"
            described = markdown.plain(data.description or "")
            say(step, f"check {data.check_name}: {verdict}. {described}")
            if not data.passed and data.blocking and data.severity != WARN:
                errors.append(f"{name_of(data.asset_key)}: check {data.check_name} failed: {described}")
        elif not kind and event.user_message and int(event.level) >= logging.INFO:
            say(step, event.user_message)
        if kind == "STEP_FAILURE" and not _is_about_checks(event):
            errors.append(f"{step}: {_reason(event)}")
    run = instance.get_run_by_id(run_id)
    return Outcome(run_id, run.status if run else dg.DagsterRunStatus.FAILURE, seconds, tuple(errors))


def _events(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.EventLogEntry]:
    cursor, looked = None, time.monotonic()
    while True:
        run = instance.get_run_by_id(run_id)
        ended = run is None or run.status in ENDED
        page = events_of_run(instance, run_id, cursor=cursor)
        yield from (record.event_log_entry for record in page.records)
        cursor = page.cursor
        if ended and not page.has_more:
            return
        if not page.has_more:
            time.sleep(POLL_SECONDS)
            # When Dagster was killed, no other process marks the run as failed.
            if time.monotonic() - looked > LOOK_SECONDS:
                fail_dead_runs(instance)
                looked = time.monotonic()


def _is_about_checks(event: dg.EventLogEntry) -> bool:
    """Return whether a step failed only because of a blocking check, which was already reported."""
    error = event.get_dagster_event().step_failure_data.error
    return bool(error) and error.cls_name == "DagsterAssetCheckFailedError"


def _reason(event: dg.EventLogEntry) -> str:
    data = event.get_dagster_event().step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error and error.cause:
        error = error.cause
    return error.message.strip() if error else "failed"
