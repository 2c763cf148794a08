"""Every use of a Dagster API that is beta or not public, so that an upgrade of Dagster has one file to verify.

Beta: `multi_observable_source_asset` and `with_source_code_references`. They have been in use for years and have no
successor; they are called without the warning that Dagster gives at every start. Not public:
`DagsterInstance.event_log_storage` (`dagster._core.storage.event_log.base.EventLogStorage`), for which the public
instance has no equivalent method.
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg


def observed_source(spec: dg.AssetSpec) -> Callable[[Callable[..., dg.DataVersion]], dg.AssetsDefinition]:
    """Return a decorator for an observable source: downstream assets become stale when its data version changes.

    `dagster.multi_observable_source_asset` with one asset; unlike `observable_source_asset` it keeps owners and kinds.
    """

    def decorate(observe: Callable[..., dg.DataVersion]) -> dg.AssetsDefinition:
        @functools.wraps(observe)
        def observed(*arguments: Any, **resources: Any) -> dg.ObserveResult:
            return dg.ObserveResult(asset_key=spec.key, data_version=observe(*arguments, **resources))

        observed.__annotations__["return"] = dg.ObserveResult
        with _without_beta_warnings():
            return dg.multi_observable_source_asset(specs=[spec])(observed)

    return decorate


def with_code_references(assets: Sequence[Any]) -> list[Any]:
    """Return the assets, each with the file and line of its definition, which the UI links to."""
    with _without_beta_warnings():
        return list(dg.with_source_code_references(list(assets)))


def _without_beta_warnings() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore", category=dg.BetaWarning)


def check_history(instance: dg.DagsterInstance, key: dg.AssetCheckKey, limit: int) -> Iterator[Any]:
    """Yield the event data of a check's last `limit` executions that ended, the newest first.

    `EventLogStorage.get_asset_check_execution_history`: the public instance has no history of one check.
    """
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=limit):
        event = record.event.dagster_event if record.event else None
        if event and event.event_type_value == "ASSET_CHECK_EVALUATION":
            yield event.event_specific_data


def last_planned_run(instance: dg.DagsterInstance, asset: dg.AssetKey) -> str:
    """Return the id of the last run that planned to materialise the asset; empty when there is none.

    `EventLogStorage.get_latest_planned_materialization_info`: it needs one query, where the runs would be a search.
    """
    planned = instance.event_log_storage.get_latest_planned_materialization_info(asset)
    return planned.run_id if planned else ""


def set_pool_limit(instance: dg.DagsterInstance, pool: str, limit: int) -> None:
    """Set the number of slots of a concurrency pool, where it differs. `EventLogStorage.set_concurrency_slots`."""
    storage = instance.event_log_storage
    if storage.get_concurrency_info(pool).slot_count != limit:
        storage.set_concurrency_slots(pool, limit)


def free_slots_of_ended_runs(instance: dg.DagsterInstance) -> None:
    """Free the pool slots of runs that ended: a killed run returns none, and the next run would wait for ever.

    `EventLogStorage.free_concurrency_slots_for_run`, for which the public instance has no method.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for pool in storage.get_concurrency_keys():
        info = storage.get_concurrency_info(pool)
        for run_id in {step.run_id for step in (*info.claimed_slots, *info.pending_steps)}:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(run_id)


def newest_event(instance: dg.DagsterInstance) -> int:
    """Return the storage id of the newest event; 0 in an empty event log. `EventLogStorage.get_maximum_record_id`."""
    return instance.event_log_storage.get_maximum_record_id() or 0


def events_after(
    instance: dg.DagsterInstance, storage_id: int, kind: dg.DagsterEventType, limit: int
) -> dict[int, dg.EventLogEntry]:
    """Return at most `limit` events of one kind after the storage id, of all runs, by storage id.

    `EventLogStorage.get_logs_for_all_runs_by_log_id`, which Dagster's own daemon reads the event log with.
    """
    return dict(instance.event_log_storage.get_logs_for_all_runs_by_log_id(storage_id, {kind}, limit))
