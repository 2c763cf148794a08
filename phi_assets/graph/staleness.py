"""The state of every asset (missing, stale or fresh, and why), and which assets the next run should make.

Read from the asset catalog (code versions, data versions and those of the inputs, check verdicts), and from the ports,
which verify that what was made still exists: the catalog alone would call a deleted folder fresh. Dagster's UI compares
the same versions, which its event log adopts from the catalog.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg

from phi_assets.errors import BackendError
from phi_assets.graph import asset_facts, check_gates
from phi_assets.graph.asset_keys import input_tag, key_of, name_of
from phi_assets.graph.dagster_internals import asset_graph, nodes_in, stale_causes
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.models import champions
from phi_assets.ports.catalog import AssetCatalog, Materialised
from phi_assets.records import Evaluation, Record, RecordUnreadable

CODE_VERSION = "dagster/code_version"
DATA_VERSION = "dagster/data_version"


Status = Literal["fresh", "missing", "stale", "blocked", "observed", "unknown"]
PLACE = "cloud_resources"
"""The resource (port) of what all others store in. While a part of it is missing, a query there would hang."""


@dataclass(frozen=True)
class AssetState:
    """One asset: its status with reasons, its record, and its last materialisation."""

    name: str
    group: str
    upstream: tuple[str, ...]
    status: Status
    reasons: tuple[str, ...] = ()
    record: Record | None = None
    since: float | None = field(default=None, metadata={"doc": "seconds since 1970 of the last materialisation"})
    run_id: str | None = None
    failed_checks: tuple[str, ...] = ()
    live: bool = field(default=False, metadata={"doc": "made again before any asset directly downstream"})

    @property
    def needs_work(self) -> bool:
        return self.status in ("missing", "stale")


@dataclass(frozen=True)
class Asset:
    """An asset as the definitions describe it."""

    name: str
    group: str
    upstream: tuple[str, ...]
    code_version: str | None
    source: bool
    port: str | None = field(default=None, metadata={"doc": "the resource that stores it; None of a user's asset"})
    live: bool = False
    partitioned: bool = False


def assets_of(definitions: dg.Definitions) -> list[Asset]:
    """Return every asset of the graph, upstream assets first."""
    return assets_in(asset_graph(definitions))


def assets_in(graph: Any) -> list[Asset]:
    """Return every asset of a resolved graph, upstream assets first."""
    return [
        Asset(
            name=name_of(node.key),
            group=node.group_name,
            upstream=tuple(sorted(name_of(key) for key in node.parent_keys)),
            code_version=node.code_version,
            source=not node.is_materializable,
            port=asset_facts.plain(node.metadata.get(asset_facts.PORT)),
            live=asset_facts.LIVE in node.tags,
            partitioned=node.partitions_def is not None,
        )
        for node in nodes_in(graph)
    ]


def asset_states(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    on_fault: Callable[[str, Exception], str] | None = None,
) -> dict[str, AssetState]:
    """Return the state of every asset, upstream assets first.

    Downstream of a missing cloud resource no port is queried: what is stored there is assumed to exist until then. An
    asset without a port, such as one that a user added, is judged by Dagster's own staleness.

    Raises what a port raises that cannot read what it stores. With `on_fault`, which returns the reason, such an asset
    is `unknown` and the others are judged.
    """
    resources: Mapping[str, Any] = definitions.resources or {}
    assets = assets_of(definitions)
    for name in {asset.port for asset in assets if asset.port and not asset.source}:
        resources[name].invalidate()
    others = [key_of(each.name) for each in assets if not each.port and not each.source]
    causes = stale_causes(instance, definitions, others) if others else {}
    states: dict[str, AssetState] = {}
    versions: dict[str, str | None] = {}
    damaged: set[str] = set()
    stored = _materialisations(resources, on_fault)
    for asset in assets:
        key = key_of(asset.name)
        if asset.source:
            versions[asset.name] = observed(instance, key)
            states[asset.name] = AssetState(asset.name, asset.group, asset.upstream, "observed")
            continue
        event = instance.get_latest_materialization_event(key)
        last = _last(event, stored.get(asset.name))
        versions[asset.name] = last.tags.get(DATA_VERSION)
        if asset.port is None:
            states[asset.name] = _judged_by_dagster(asset, event, causes[key], states)
            continue
        try:
            states[asset.name] = _stored(asset, last, stored.get(asset.name), resources, states, versions, damaged)
        except Exception as e:
            if on_fault is None:
                raise
            reason = on_fault(asset.name, e)
            states[asset.name] = AssetState(
                asset.name, asset.group, asset.upstream, "unknown", (reason,), since=last.at, live=asset.live
            )
    return states


@dataclass(frozen=True)
class _Last:
    """The last materialisation of an asset: its tags (none before the first), its time, and its run."""

    tags: Mapping[str, str]
    at: float | None
    run_id: str | None


def _last(event: dg.EventLogEntry | None, made: Materialised | None) -> _Last:
    """Return the last materialisation: the catalog's, where it has one."""
    if made:
        return _Last(versions_of(made), made.at, made.run)
    tags = event.asset_materialization.tags or {} if event and event.asset_materialization else {}
    return _Last(tags, event.timestamp if event else None, event.run_id if event else None)


def versions_of(made: Materialised) -> dict[str, str]:
    """Return the versions as a materialisation's tags: of the data, the code and the inputs."""
    inputs = {input_tag(name): version for name, version in made.inputs.items()}
    return {DATA_VERSION: made.data_version, CODE_VERSION: made.code_version, **inputs}


def _materialisations(
    resources: Mapping[str, Any], on_fault: Callable[[str, Exception], str] | None
) -> dict[str, Materialised]:
    """Return what the catalog has; where it cannot be read nothing, with a line by `on_fault`: the log decides."""
    catalog: AssetCatalog | None = resources.get("catalog")
    try:
        return catalog.materialisations() if catalog else {}
    except BackendError as e:
        if on_fault:
            on_fault("catalog", e)
        return {}


def _stored(
    asset: Asset,
    last: _Last,
    made: Materialised | None,
    resources: Mapping[str, Any],
    states: Mapping[str, AssetState],
    versions: Mapping[str, str | None],
    damaged: set[str],
) -> AssetState:
    """Return the state of an asset that a port stores; add it to `damaged` when it is a missing cloud resource."""
    records: RecordIOManager = resources["io_manager"]
    catalog: AssetCatalog = resources["catalog"]
    key, tags = key_of(asset.name), last.tags
    record = _recorded(records, key, made)
    port = resources[str(asset.port)]
    unreachable = asset.port != PLACE and not damaged.isdisjoint(asset.upstream)
    if tags and not unreachable and (record is None or record.digest != tags.get(DATA_VERSION)):
        record = port.find(tags.get(DATA_VERSION, "")) or record  # another machine made it
    kept = record and (record if unreachable else port.find(record.digest))
    if unreachable or (record and not kept and asset.port == PLACE):
        damaged.add(asset.name)
    status, reasons = _judge(catalog, asset, tags, versions, record, kept)
    if record is None and (unreadable := records.unreadable(key)):
        reasons = [f"never made, because {unreadable}"]
    if record and not kept and tags:
        reasons = [port.missing_reason(record.digest)]
    if unreachable and status == "fresh":
        reasons = ["not verified: an upstream resource is missing"]
    failed = check_gates.failed_checks(catalog, asset.name, record.digest) if record else []
    if isinstance(kept, Evaluation) and status == "fresh" and not failed and not unreachable:
        registry = resources["registry"]
        overtaken = champions.overtaken(kept, registry.champion(), registry.versions())
        status, reasons = ("stale", [overtaken]) if overtaken else (status, reasons)
    refused = [line for name in asset.upstream for line in states[name].failed_checks] if status != "fresh" else []
    return AssetState(
        name=asset.name,
        group=asset.group,
        upstream=asset.upstream,
        status="blocked" if refused else status,
        reasons=tuple(refused or reasons),
        record=kept or None,
        since=last.at,
        run_id=last.run_id,
        failed_checks=tuple(failed),
        live=asset.live,
    )


def _recorded(records: RecordIOManager, key: dg.AssetKey, made: Materialised | None) -> Record | None:
    """Return the asset's last record: this home's, else the catalog's, without another request for each asset."""
    here = records.here(key)
    if here or made is None or records.unreadable(key):
        return here
    with suppress(RecordUnreadable):
        return made.to_record()
    return None


def recorded(definitions: dg.Definitions, reason: str) -> dict[str, AssetState]:
    """Return every asset with its last record and the status `unknown`: for when Dagster's storage cannot be read."""
    records: RecordIOManager = (definitions.resources or {})["io_manager"]
    return {
        asset.name: AssetState(
            asset.name,
            asset.group,
            asset.upstream,
            "unknown",
            (reason,),
            record=None if asset.source else records.latest(key_of(asset.name)),
        )
        for asset in assets_of(definitions)
    }


def first_assets(assets: Sequence[Asset]) -> list[str]:
    """Return the cloud resources, roles among them, and what these need, upstream assets first."""
    of_place = {asset.name for asset in assets if asset.port == PLACE}
    upstream = {name for asset in assets if asset.name in of_place for name in asset.upstream}
    return [asset.name for asset in assets if asset.name in of_place | upstream]


def damaged_assets(definitions: dg.Definitions) -> dict[str, str]:
    """Return why each materialised cloud resource is missing, by asset; nothing on a laptop."""
    resources: Mapping[str, Any] = definitions.resources or {}
    if PLACE not in resources:
        return {}
    port, stored = resources[PLACE], resources["io_manager"]
    port.invalidate()
    of_place = [asset.name for asset in assets_of(definitions) if asset.port == PLACE]
    records = {name: stored.latest(dg.AssetKey(name)) for name in of_place}
    return {
        name: port.missing_reason(record.digest)
        for name, record in records.items()
        if record is not None and port.find(record.digest) is None
    }


def next_assets(states: Mapping[str, AssetState]) -> list[str]:
    """Return the assets that one run should make: those that need work and whose inputs are certain in that run.

    An asset waits for a later run when an asset further upstream is made now and the assets between may stay unchanged.
    An asset that is `live` is made again before any asset directly downstream of it.
    """
    wave: set[str] = set()
    touched: set[str] = set()  # assets downstream of the wave
    for state in states.values():
        if any(name in wave or name in touched for name in state.upstream):
            touched.add(state.name)
        certain = all(name in wave or (name not in touched and _usable(states[name])) for name in state.upstream)
        if state.needs_work and certain:
            wave.add(state.name)
    wave |= {name for each in wave for name in states[each].upstream if states[name].live}
    return [name for name in states if name in wave]


def _judged_by_dagster(
    asset: Asset, event: dg.EventLogEntry | None, causes: list[str], states: Mapping[str, AssetState]
) -> AssetState:
    """Return the state of an asset without a port. Partitions are not made by `phi run`: it does not know which."""
    status: Status = "stale" if event and causes else "missing" if causes else "fresh"
    if asset.partitioned:
        status, causes = "observed", ["partitioned: materialise its partitions in Dagster's UI"]
    refused = [line for name in asset.upstream for line in states[name].failed_checks] if causes else []
    return AssetState(
        name=asset.name,
        group=asset.group,
        upstream=asset.upstream,
        status="blocked" if refused and status != "observed" else status,
        reasons=tuple(refused or causes),
        since=event.timestamp if event else None,
        run_id=event.run_id if event else None,
    )


def _usable(state: AssetState) -> bool:
    return state.status in ("fresh", "observed")


def _judge(
    catalog: AssetCatalog,
    asset: Asset,
    tags: Mapping[str, str],
    versions: Mapping[str, str | None],
    record: Record | None,
    kept: Record | None,
) -> tuple[Status, list[str]]:
    """Return fresh, missing or stale, and a line for each reason."""
    if not tags or record is None:
        return "missing", ["never made"]
    if kept is None:
        return "missing", ["what was made is gone"]
    reasons = []
    if record.digest != tags.get(DATA_VERSION):
        reasons.append("a run ended after making it and before recording it")
    if asset.code_version != tags.get(CODE_VERSION):
        reasons.append("its code or one of its settings changed")
    for name in asset.upstream:
        used = tags.get(input_tag(name))
        if versions[name] is not None and used != versions[name]:
            reasons.append(f"{name} changed")
    missing = check_gates.missing_verdicts(catalog, asset.name, record.digest)
    if missing:
        reasons.append(f"not yet judged by {', '.join(missing)}")
    return ("stale" if reasons else "fresh"), reasons


def observed(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    """Return the last observed data version of a source; None before the first observation."""
    found = instance.fetch_observations(key, limit=1).records
    observation = found[0].asset_observation if found else None
    return (observation.tags or {}).get(DATA_VERSION) if observation else None
