"""Dagster storage as code of a project has it on Dagster+: whatever is not on the list raises, and logs are sharded.

The lists are the methods that do not raise in dagster-cloud 1.13.27 (on PyPI), GraphQLEventLogStorage in
dagster_cloud/storage/event_logs/storage.py and GraphQLRunStorage in dagster_cloud/storage/runs/storage.py. A method of
Dagster's base class that those classes do not define is Dagster's own, which may raise too. Behind both is Dagster's
SQLite storage, which has a log for each run.

Dagster's webserver and daemon are not restricted: on Dagster+ they run there. In a `dagster.yaml`:

    storage:
      custom: {module: tests.support.allowed_storage, class: AllowedStorage, config: {base_dir: DIR}}
"""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from dagster import Field, StringSource
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

_EVENT_LOG = """
    get_maximum_record_id get_records_for_run get_asset_partitions_for_run get_asset_keys_for_run get_stats_for_run
    get_step_stats_for_run store_event store_event_batch delete_events upgrade reindex_assets reindex_events wipe
    enable_secondary_index is_persistent is_asset_aware get_event_records asset_records_have_last_observation
    supports_partition_subset_in_asset_materialization_planned_events
    asset_records_have_last_planned_and_failed_materializations can_store_asset_failure_events
    get_asset_check_summary_records get_asset_records has_asset_key all_asset_keys get_latest_materialization_events
    can_read_asset_status_cache can_write_asset_status_cache wipe_asset_cached_status get_materialized_partitions
    get_materialization_count_by_partition get_latest_storage_id_by_partition get_latest_tags_by_partition
    get_latest_asset_partition_materialization_attempts_without_materializations get_event_tags_for_asset
    get_dynamic_partitions get_paginated_dynamic_partitions has_dynamic_partition add_dynamic_partitions
    delete_dynamic_partition wipe_asset wipe_asset_partitions supports_global_concurrency_limits
    initialize_concurrency_limit_to_default set_concurrency_slots delete_concurrency_limit get_concurrency_keys
    get_concurrency_info claim_concurrency_slot check_concurrency_claim free_concurrency_slots_for_run
    free_concurrency_slot_for_step get_latest_asset_check_execution_by_key fetch_materializations
    fetch_failed_materializations fetch_observations fetch_planned_materializations
    supports_run_status_change_job_name_filter fetch_run_status_changes get_latest_planned_materialization_info
    get_updated_data_version_partitions default_run_scoped_event_tailer_offset get_asset_status_cache_values
    get_pool_config get_pool_limits
"""
_RUNS = """
    add_historical_run add_run supports_bucket_queries get_runs get_run_ids get_runs_count get_run_group get_run_by_id
    get_run_records get_run_tags get_run_tag_keys add_run_tags has_run has_job_snapshot add_job_snapshot
    get_job_snapshot has_execution_plan_snapshot add_execution_plan_snapshot get_execution_plan_snapshot
    get_run_partition_data add_daemon_heartbeat supports_run_telemetry add_run_telemetry get_daemon_heartbeats
    has_bulk_actions_table get_backfills get_backfill add_backfill update_backfill get_cursor_values set_cursor_values
    replace_job_origin
"""
# Dagster+ applies a run's events to the run itself, when they are stored; here Dagster's own code does it.
BY_DAGSTER = frozenset({"handle_run_event"})
OF_THE_HOST = ("dagster-webserver", "dagster-daemon")


EVENT_LOG, RUNS = frozenset(_EVENT_LOG.split()), frozenset(_RUNS.split())


class NotAllowed(NotImplementedError):
    """Dagster+ or a sharded storage refuses this call of user code."""


class _Restricted(ConfigurableClass):
    inner: Any
    _inst_data: ConfigurableClassData | None

    def __init__(self, inner: Any, inst_data: ConfigurableClassData | None = None) -> None:
        self.inner, self._inst_data = inner, inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return {"base_dir": Field(StringSource)}

    def register_instance(self, instance: Any) -> None:
        super().register_instance(instance)  # type: ignore[misc]
        self.inner.register_instance(instance)

    def dispose(self) -> None:
        self.inner.dispose()


def _restricted(base: type, allowed: frozenset[str]) -> Callable[[type], type]:
    """Return a decorator: the class passes the allowed methods of `base` on to `self.inner`, and refuses others."""

    def decorate(decorated: type) -> type:
        for name, member in inspect.getmembers(base):
            if name.startswith("_") or name in vars(decorated) or name in vars(_Restricted):
                continue
            if isinstance(member, property):
                setattr(decorated, name, property(_reader(name, member, allowed)))
            elif callable(member):
                setattr(decorated, name, _caller(name, member, allowed))
        decorated.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
        return decorated

    return decorate


def _reader(name: str, member: property, allowed: frozenset[str]) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        if name in allowed or _is_host():
            return getattr(self.inner, name)
        _require_defined(name, member.fget)
        return member.fget(self)  # type: ignore[misc]

    return read


def _caller(name: str, member: Any, allowed: frozenset[str]) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        if name in allowed or _is_host():
            return getattr(self.inner, name)(*arguments, **named)
        _require_defined(name, member)
        return member(self, *arguments, **named)

    return call


def _require_defined(name: str, member: Any) -> None:
    if getattr(member, "__isabstractmethod__", False) or name in REFUSED:
        raise NotAllowed(f"user code called {name}, which Dagster+ or a sharded storage refuses")


# Methods of Dagster's base classes that are not abstract, and that dagster-cloud refuses by name.
REFUSED = frozenset(
    {
        *("watch", "end_watch", "get_freshness_state_records", "update_asset_cached_status_data"),
        *("get_concurrency_run_ids", "get_asset_check_execution_history", "get_asset_check_partition_info"),
        *("delete_run", "wipe", "wipe_daemon_heartbeats", "get_backfills_count"),
    }
)


def _is_host() -> bool:
    return Path(sys.argv[0]).name in OF_THE_HOST


@_restricted(EventLogStorage, EVENT_LOG)
class AllowedEventLog(_Restricted, EventLogStorage):
    """Dagster's sharded event log, restricted to EVENT_LOG."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        return cls(SqliteEventLogStorage(str(Path(config_value["base_dir"], "events"))), inst_data)


@_restricted(RunStorage, RUNS | BY_DAGSTER)
class AllowedRuns(_Restricted, RunStorage):
    """Dagster's run storage, restricted to RUNS."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        return cls(SqliteRunStorage.from_local(config_value["base_dir"]), inst_data)


class AllowedStorage(DagsterStorage, ConfigurableClass):
    """All storage of an instance, restricted."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()
        self._inst_data = inst_data
        config = {"base_dir": base_dir}
        self._events = AllowedEventLog.from_config_value(None, config)
        self._runs = AllowedRuns.from_config_value(None, config)
        self._schedules = SqliteScheduleStorage.from_local(str(Path(base_dir, "schedules")))

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return {"base_dir": Field(StringSource)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Self:
        return cls(config_value["base_dir"], inst_data)

    @property
    def event_log_storage(self) -> Any:
        return self._events

    @property
    def run_storage(self) -> Any:
        return self._runs

    @property
    def schedule_storage(self) -> Any:
        return self._schedules

    @property
    def event_storage_data(self) -> Any:
        return self._part("AllowedEventLog")

    @property
    def run_storage_data(self) -> Any:
        return self._part("AllowedRuns")

    @property
    def schedule_storage_data(self) -> Any:
        return None

    def _part(self, name: str) -> ConfigurableClassData | None:
        data = self._inst_data
        return ConfigurableClassData(__name__, name, data.config_yaml) if data else None
