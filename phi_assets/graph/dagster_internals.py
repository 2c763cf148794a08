"""Every use of a Dagster API that is beta or not public, so that an upgrade of Dagster has one file to verify.

Beta or preview: `multi_observable_source_asset`, `with_source_code_references` and `ComponentTree`; they are called
without the warning that Dagster gives at every start. Not public: the asset graph, the staleness resolver, and methods
of `DagsterInstance` and of its `event_log_storage` (`dagster._core.storage.event_log.base.EventLogStorage`) that have
no public equivalent. Each function has a test that fails when Dagster changes what it uses.
"""

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg


def observed_source(spec: dg.AssetSpec) -> Callable[[Callable[..., dg.ObserveResult]], dg.AssetsDefinition]:
    """Return a decorator for an observable source: downstream assets become stale when its data version changes.

    `dagster.multi_observable_source_asset` with one asset; unlike `observable_source_asset` it keeps owners and kinds.
    """
    with _without_previews():
        return dg.multi_observable_source_asset(specs=[spec])


def with_code_references(assets: Sequence[Any]) -> list[Any]:
    """Return the assets, each with the file and line of its definition, which the UI links to."""
    with _without_previews():
        return list(dg.with_source_code_references(list(assets)))


def definition_line(spec: dg.AssetSpec) -> tuple[str, int] | None:
    """Return file and line of the asset's definition, after `with_code_references`; None without a reference."""
    found = spec.metadata.get("dagster/code_references")
    for reference in found.code_references if found else ():
        if isinstance(reference, dg.LocalFileCodeReference) and reference.line_number:
            return reference.file_path, reference.line_number
    return None


def load_folder(path: Path) -> tuple[dg.Definitions, dg.ComponentTree]:
    """Return everything that the project's `defs` folder defines, with its component tree.

    What `dagster.load_from_defs_folder` returns, except the list of the component types of all installed packages: it
    would import each of them, and dagster-azure alone takes longer than all other definitions.
    """
    with _without_previews():
        tree = dg.ComponentTree.for_project(path)
        return tree.build_defs_at_path(tree.defs_module_path), tree


def with_asset_keys(definition: Any, key_of: Callable[[dg.AssetKey], dg.AssetKey]) -> Any:
    """Return assets or checks with other keys, also of their inputs and dependencies; anything else as it is.

    `AssetsDefinition.with_attributes`; `map_asset_specs` leaves the inputs and the checks.
    """
    if isinstance(definition, dg.AssetSpec):
        deps = [dg.AssetDep(key_of(dep.asset_key), partition_mapping=dep.partition_mapping) for dep in definition.deps]
        return definition.replace_attributes(key=key_of(definition.key), deps=deps)
    if not isinstance(definition, dg.AssetsDefinition):
        return definition
    upstream = {key for keys in definition.asset_deps.values() for key in keys}
    checked = {check.asset_key for check in definition.check_keys}
    keys = {*definition.keys, *definition.keys_by_input_name.values(), *upstream, *checked}
    return definition.with_attributes(asset_key_replacements={key: key_of(key) for key in keys})


def asset_graph(definitions: dg.Definitions) -> Any:
    """Return the graph of the definitions: `Definitions.resolve_asset_graph`."""
    return definitions.resolve_asset_graph()


def nodes_in(graph: Any) -> list[Any]:
    """Return a graph's nodes, upstream assets first: `AssetNode` with key, group_name, parent_keys, metadata, ..."""
    return [graph.get(key) for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]


def graph_of_sensor(context: dg.SensorEvaluationContext) -> Any:
    """Return the graph of the code location that a sensor belongs to: `RepositoryDefinition.asset_graph`."""
    repository = context.repository_def
    with _without_previews():
        return repository.asset_graph if repository else None


def specs_of(asset: Any) -> Sequence[dg.AssetSpec]:
    """Return the specs of an asset definition: `AssetsDefinition.specs`; none of a kind that has none."""
    return [asset] if isinstance(asset, dg.AssetSpec) else list(getattr(asset, "specs", ()))


def check_specs_of(check: dg.AssetsDefinition) -> Sequence[dg.AssetCheckSpec]:
    """Return the specs of a check definition: `AssetsDefinition.check_specs`."""
    return list(check.check_specs)


def job_of(definitions: dg.Definitions, name: str) -> dg.JobDefinition:
    """Return a job of the definitions with its resources: `Definitions.resolve_job_def`."""
    return definitions.resolve_job_def(name)


def open_instance(home: Path) -> dg.DagsterInstance:
    """Open the Dagster instance of a home, a context manager: `DagsterInstance.from_config`."""
    return dg.DagsterInstance.from_config(str(home))


def runs(
    instance: dg.DagsterInstance, filters: dg.RunsFilter | None = None, limit: int | None = None
) -> Sequence[dg.DagsterRun]:
    """Return the runs that the filters accept, the newest first: `DagsterInstance.get_runs`."""
    return instance.get_runs(filters=filters, limit=limit)


def add_run_tags(instance: dg.DagsterInstance, run_id: str, tags: Mapping[str, str]) -> None:
    """Add tags to a run: `DagsterInstance.add_run_tags`."""
    instance.add_run_tags(run_id, dict(tags))


def fail_run(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> None:
    """End a run as failed: `DagsterInstance.report_run_failed`."""
    instance.report_run_failed(run, message)


def events_of_run(
    instance: dg.DagsterInstance,
    run_id: str,
    kinds: dg.DagsterEventType | set[dg.DagsterEventType] | None = None,
    cursor: str | None = None,
    limit: int | None = None,
) -> Any:
    """Return a page of a run's events, with `records`, `cursor` and `has_more`: `get_records_for_run`."""
    return instance.get_records_for_run(run_id, cursor=cursor, of_type=kinds, limit=limit)


def log_of_run(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> Sequence[dg.EventLogEntry]:
    """Return all events of one kind of a run, the oldest first: `DagsterInstance.all_logs`."""
    return instance.all_logs(run_id, of_type=kind)


def stale_causes(
    instance: dg.DagsterInstance, definitions: dg.Definitions, keys: Sequence[dg.AssetKey]
) -> dict[dg.AssetKey, list[str]]:
    """Return the reasons why Dagster calls each asset stale or missing; none for a fresh one.

    `CachingStaleStatusResolver`, from which Dagster's UI has them too.
    """
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    resolver = CachingStaleStatusResolver(instance, asset_graph(definitions), LoadingContextForTest(instance))
    causes: dict[dg.AssetKey, list[str]] = {}
    for key in keys:
        status = resolver.get_status(key)
        if status == StaleStatus.MISSING:
            causes[key] = ["never made"]
        else:
            found = resolver.get_stale_root_causes(key) if status == StaleStatus.STALE else []
            causes[key] = [f"{cause.asset_key.to_user_string()}: {cause.reason}" for cause in found]
    return causes


@contextmanager
def _without_previews() -> Iterator[None]:
    with warnings.catch_warnings():
        for category in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", category)
        yield


def last_evaluations(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> dict[int, tuple[dg.AssetCheckKey, dg.EventLogEntry]]:
    """Return the event of each check's last execution, if that has ended, with its key, by the execution's number.

    `EventLogStorage.get_latest_asset_check_execution_by_key`: the history of a check is not readable on Dagster+.
    """
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys)) if keys else {}
    ended: dict[int, tuple[dg.AssetCheckKey, dg.EventLogEntry]] = {}
    for key, record in found.items():
        event = record.event.dagster_event if record.event else None
        if record.event and event and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            ended[record.id] = key, record.event
    return ended


def last_check_run(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> str:
    """Return the id of the run of a check's last execution; empty when there is none.

    `EventLogStorage.get_latest_asset_check_execution_by_key`.
    """
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    return found.run_id if found else ""


def last_planned_run(instance: dg.DagsterInstance, asset: dg.AssetKey) -> str:
    """Return the id of the last run that planned to materialise the asset; empty when there is none.

    `EventLogStorage.get_latest_planned_materialization_info`: it needs one query, where the runs would be a search.
    """
    planned = instance.event_log_storage.get_latest_planned_materialization_info(asset)
    return planned.run_id if planned else ""


def set_pool_limit(instance: dg.DagsterInstance, pool: str, limit: int) -> None:
    """Set the number of slots of a concurrency pool that has no limit of its own.

    `EventLogStorage.set_concurrency_slots`.
    """
    storage = instance.event_log_storage
    if not any(found.name == pool and not found.from_default for found in storage.get_pool_limits()):
        storage.set_concurrency_slots(pool, limit)


def free_slots_of_ended_runs(instance: dg.DagsterInstance, pools: Iterable[str]) -> None:
    """Free the slots of ended runs in these pools: a killed run returns none, and the next would wait for ever.

    `EventLogStorage.free_concurrency_slots_for_run`, for which the public instance has no method.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for pool in storage.get_concurrency_keys().intersection(pools):
        info = storage.get_concurrency_info(pool)
        for run_id in {step.run_id for step in (*info.claimed_slots, *info.pending_steps)}:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(run_id)


def newest_event(instance: dg.DagsterInstance) -> int:
    """Return the storage id of the newest event; 0 in an empty event log. `EventLogStorage.get_maximum_record_id`."""
    return instance.event_log_storage.get_maximum_record_id() or 0


def ended_after(instance: dg.DagsterInstance, storage_id: int, kind: Any, limit: int) -> dict[int, dg.EventLogEntry]:
    """Return at most `limit` ends of runs of one kind after the storage id, by storage id.

    `DagsterInstance.fetch_run_status_changes`, which every storage has: a sharded one has no other log across runs.
    """
    after = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=storage_id)
    found = instance.fetch_run_status_changes(after, limit, ascending=True)
    return {record.storage_id: record.event_log_entry for record in found.records}


def versions_of_output(context: dg.OutputContext) -> tuple[str, dict[str, str]]:
    """Return the code version, and the data version of each upstream asset, that the output's materialisation gets.

    `_get_code_version` and `_get_input_provenance_data`, from which Dagster itself makes the event's tags.
    """
    from dagster._core.execution.plan import execute_step

    step, key = context.step_context, context.asset_key
    inputs = execute_step._get_input_provenance_data(key, step)
    versions = {upstream.to_user_string(): found["data_version"].value for upstream, found in inputs.items()}
    return execute_step._get_code_version(key, step), versions


def is_default_launcher(instance: dg.DagsterInstance) -> bool:
    """Return whether runs are processes that the code server starts: `DefaultRunLauncher`, Dagster's default."""
    from dagster._core.launcher import DefaultRunLauncher

    return isinstance(instance.run_launcher, DefaultRunLauncher)


def reports_health(instance: dg.DagsterInstance) -> bool:
    """Return whether the launcher finds dead runs itself, as Kubernetes' does: `supports_check_run_worker_health`."""
    return bool(instance.run_launcher.supports_check_run_worker_health)


def location_of_run(run: dg.DagsterRun) -> str:
    """Return the code location that the run was launched from; empty for one that a process started itself."""
    origin = run.remote_job_origin
    return origin.repository_origin.code_location_origin.location_name if origin else ""


def socket_of_run(run: dg.DagsterRun) -> str:
    """Return the path of the socket through which the default launcher started the run; empty for another launcher.

    The run's tag `.dagster/grpc_info`, which the launcher sets.
    """
    from dagster._core.storage.tags import GRPC_INFO_TAG

    return json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket") or ""


def location_of_sensor(context: dg.SensorEvaluationContext) -> str:
    """Return the code location that a sensor belongs to; empty outside of the daemon: `code_location_origin`."""
    origin = context.code_location_origin
    return origin.location_name if origin else ""


def checks_in(graph: Any) -> list[dg.AssetCheckKey]:
    """Return the keys of a graph's checks: `AssetGraph.asset_check_keys`."""
    return sorted(graph.asset_check_keys)


def run_webserver(options: Sequence[str], wrap: Callable[[Any], Any]) -> None:
    """Run `dagster-webserver` with these options and its ASGI application wrapped.

    Raises RuntimeError, and serves nothing, when Dagster makes its application by another function.

    `dagster_webserver.cli.create_app_from_workspace_process_context`; Dagster has no option for a middleware.
    """
    from dagster_webserver import cli

    name = "create_app_from_workspace_process_context"
    made = getattr(cli, name, None)
    if made is None:
        raise RuntimeError("this version of dagster-webserver makes its application in another way: it is not guarded")

    def wrapped(*arguments: Any, **named: Any) -> Any:
        return wrap(made(*arguments, **named))

    setattr(cli, name, wrapped)
    cli.dagster_webserver.main(list(options), prog_name="dagster-webserver")


def run_daemon(options: Sequence[str]) -> None:
    """Run `dagster-daemon run` with these options: `dagster._daemon.cli.run_command`."""
    from dagster._daemon.cli import run_command

    run_command.main(list(options), prog_name="dagster-daemon run")


def run_code_server(options: Sequence[str]) -> None:
    """Run `dagster code-server start` with these options: `dagster._cli.code_server.start_command`."""
    from dagster._cli.code_server import start_command

    start_command.main(list(options), prog_name="dagster code-server start")
