"""Adoption: an event log that lacks what the project's asset catalog says gets it, without a run.

Another machine made it, or this log was wiped. Where log and catalog differ, the catalog wins. An adopted event has the
same versions as a real materialisation, so that Dagster calls nothing stale, and says that it was adopted.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from phi_assets import markdown
from phi_assets.errors import BackendError
from phi_assets.graph import metadata_values
from phi_assets.graph.asset_keys import input_versions, key_of
from phi_assets.graph.check_gates import BLOCKING, SUBJECT, valid_verdicts, verdict_of
from phi_assets.graph.dagster_internals import events_of_run, last_evaluations
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.graph.staleness import CODE_VERSION, DATA_VERSION, Asset, versions_of
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Port
from phi_assets.ports.catalog import AssetCatalog, Materialised, Verdict
from phi_assets.records import Record

ADOPTED = "adopted"
EVENT_POINTER = "dagster/input_event_pointer/"
USER_PROVIDED = "dagster/data_version_is_user_provided"
NO_EVENT = "NULL"  # as Dagster writes it where an input had no event
MOST_BYTES = 10_000  # of a record in an event
WHY = "another machine made it, or this history was wiped"


def differences(instance: dg.DagsterInstance, assets: Iterable[Asset], resources: Mapping[str, Any]) -> dict[str, bool]:
    """Return the assets whose last materialisation the log does not have, and whether it has none. Writes nothing.

    Raises BackendError where the catalog cannot be read, and NewerCatalog.
    """
    catalog: AssetCatalog = resources["catalog"]
    stored = catalog.materialisations()
    logged = {each.name: tags_of(instance, each.name) for each in _catalogued(assets, stored)}
    return {name: not tags for name, tags in logged.items() if not is_of(stored[name], tags)}


def adopt(
    instance: dg.DagsterInstance, assets: Sequence[Asset], resources: Mapping[str, Any], log: Callable[[str], None]
) -> list[str] | None:
    """Bring the event log and this home's records up to what the catalog says; return the adopted assets.

    What no longer exists is not adopted. First the catalog gets what only this home has: what it could not send, and
    what was made before there was a catalog. None, and a line for `log`, where the catalog cannot be read.
    """
    catalog: AssetCatalog = resources["catalog"]
    try:
        catalog.send()
        _share_older(instance, assets, resources)
        stored = catalog.materialisations()
        adopted = [
            each.name
            for each in _catalogued(assets, stored)
            if _follow(instance, stored[each.name], resources[str(each.port)], resources)
        ]
    except BackendError as e:
        log(f"what other machines made is not known ({e.description or e}); going by the history of this one")
        return None
    if adopted:
        log(f"adopted {len(adopted)} results that the project has and this history lacked: {', '.join(adopted)}")
    return adopted


def _catalogued(assets: Iterable[Asset], stored: Mapping[str, Materialised]) -> list[Asset]:
    """Return the assets that a port stores and that the catalog has."""
    return [each for each in assets if each.port and not each.source and each.name in stored]


def tags_of(instance: dg.DagsterInstance, asset: str) -> dict[str, str]:
    """Return the tags of the asset's last materialisation in the log; none before the first."""
    event = instance.get_latest_materialization_event(key_of(asset))
    made = event.asset_materialization if event else None
    return dict(made.tags or {}) if made else {}


def is_of(made: Materialised, tags: Mapping[str, str]) -> bool:
    """Return whether the tags of a materialisation have these versions."""
    return {name: tags.get(name) for name in versions_of(made)} == versions_of(made)


def _follow(instance: dg.DagsterInstance, made: Materialised, port: Port, resources: Mapping[str, Any]) -> bool:
    """Bring log and record of one asset up to the catalog; return whether its materialisation was adopted."""
    records: RecordIOManager = resources["io_manager"]
    key = key_of(made.asset)
    is_logged, here = is_of(made, tags_of(instance, made.asset)), records.here(key)
    if is_logged and here and here.digest == made.data_version:
        return False
    record = port.find(made.data_version)
    if record is None:
        return False
    records.keep(key, record)
    if not is_logged:
        _report(instance, made, record, valid_verdicts(resources["catalog"], made.asset, made.data_version).values())
    return not is_logged


def _report(instance: dg.DagsterInstance, made: Materialised, record: Record, verdicts: Iterable[Verdict]) -> None:
    pointers = {EVENT_POINTER + key_of(each).to_user_string(): _pointer(instance, each) for each in made.inputs}
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            key_of(made.asset),
            description=f"adopted: {WHY}",
            tags={**versions_of(made), **pointers, USER_PROVIDED: "true"},
            metadata=_metadata(made, record),
        )
    )
    for verdict in verdicts:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key_of(made.asset),
                check_name=verdict.check,
                passed=verdict.passed,
                description=markdown.text(verdict.description),
                metadata={SUBJECT: verdict.subject, **verdict.numbers, ADOPTED: True},
                blocking=True,
            )
        )


def _pointer(instance: dg.DagsterInstance, asset: str) -> str:
    """Return the storage id of an input's last event in this log, as Dagster writes it into the tags."""
    key = key_of(asset)
    found = instance.fetch_materializations(key, limit=1).records or instance.fetch_observations(key, limit=1).records
    return str(found[0].storage_id) if found else NO_EVENT


def _metadata(made: Materialised, record: Record) -> dict[str, Any]:
    content = record.to_json()
    address = getattr(record, "address", "")
    return {
        ADOPTED: True,
        "digest": record.digest,
        "made_at": dg.MetadataValue.timestamp(made.at),
        "made_by_run": made.run,
        **({"address": metadata_values.text(address)} if address else {}),
        **({"record": dg.MetadataValue.json(json.loads(content))} if len(content.encode()) <= MOST_BYTES else {}),
    }


def _share_older(instance: dg.DagsterInstance, assets: Iterable[Asset], resources: Mapping[str, Any]) -> None:
    """Put into the catalog what was materialised before there was one: this home's record, with the log's versions."""
    catalog: AssetCatalog = resources["catalog"]
    records: RecordIOManager = resources["io_manager"]
    stored = catalog.materialisations()
    for asset in assets:
        if asset.source or not asset.port or asset.name in stored:
            continue
        key = key_of(asset.name)
        event, record = instance.get_latest_materialization_event(key), records.here(key)
        tags = tags_of(instance, asset.name)
        if event is None or record is None or record.digest != tags.get(DATA_VERSION):
            continue
        inputs = input_versions(tags)
        code = tags.get(CODE_VERSION, "")
        if code == asset.code_version:  # judged by the rules of now, which are part of the code version
            catalog.judge(_judged_by_runs(instance, asset.name, record.digest, event.run_id))
        values = json.loads(record.to_json())
        catalog.put(Materialised(asset.name, record.digest, code, inputs, values, event.run_id, event.timestamp))


def _judged_by_runs(instance: dg.DagsterInstance, asset: str, subject: str, run: str) -> Iterator[Verdict]:
    """Yield the verdict of each blocking check on the version, the last one, or that of the run that made the version.

    A report that no run made is none.
    """
    keys = [dg.AssetCheckKey(key_of(asset), check) for check in BLOCKING.get(asset, ())]
    of_run = events_of_run(instance, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION).records if run else ()
    last = [entry for _, entry in last_evaluations(instance, keys).values()]
    by_check: dict[str, Verdict] = {}
    for entry in (*(record.event_log_entry for record in of_run), *last):
        data = entry.get_dagster_event().asset_check_evaluation_data
        judged = data.metadata.get(SUBJECT)
        is_of = dg.AssetCheckKey(data.asset_key, data.check_name) in keys and judged and judged.value == subject
        if is_of and entry.run_id and instance.get_run_by_id(entry.run_id):
            passed = data.passed or data.severity == dg.AssetCheckSeverity.WARN
            outcome = CheckOutcome(passed, markdown.plain(data.description or ""))
            by_check[data.check_name] = verdict_of(asset, data.check_name, subject, outcome)
    yield from by_check.values()
