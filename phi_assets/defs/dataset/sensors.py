"""The sensor that observes the sources of new conversations."""

import json

import dagster as dg

from phi_assets.conversations.sources.snapshot import Snapshot, take_snapshot
from phi_assets.graph import metadata_values
from phi_assets.graph.asset_keys import key_of
from phi_assets.graph.run_tags import sensor_status
from phi_assets.graph.staleness import DATA_VERSION, observed
from phi_assets.instance.home import is_at_work
from phi_assets.ports.dataset import DatasetStore
from phi_assets.settings import Settings, current

RAW = key_of("raw_conversations")
_NAMED = 20  # maximum number of files that are listed by name


@dg.sensor(
    minimum_interval_seconds=current().watch_seconds,
    default_status=sensor_status(),
    description="Observes raw_conversations when their content changed; a copy or a renamed file is no change.",
)
def new_conversations(
    context: dg.SensorEvaluationContext, dataset_store: DatasetStore, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult:
    if is_at_work(settings, "run"):
        words = "a `phi` command works on this home and observes the sources itself; later files are observed after it"
        return dg.SensorResult(skip_reason=words, cursor=context.cursor)
    snapshot = take_snapshot(dataset_store.feeds(patient=False), settings.state / "intake" / "parts.json")
    cursor = json.dumps({title: len(part) for title, part in snapshot.parts.items()} | {"digest": snapshot.digest})
    if snapshot.unknown:
        return dg.SensorResult(
            skip_reason=f"could not read every source: {'; '.join(snapshot.troubles())}", cursor=cursor
        )
    before = observed(context.instance, RAW)
    if before == snapshot.digest:
        return dg.SensorResult(skip_reason=_nothing_new(snapshot), cursor=cursor)
    return dg.SensorResult(
        asset_events=[dg.AssetObservation(RAW, metadata=_describe(snapshot), tags={DATA_VERSION: snapshot.digest})],
        cursor=cursor,
    )


def _nothing_new(snapshot: Snapshot) -> str:
    parts = [f"nothing new: {snapshot.counts()}"]
    if left := snapshot.skipped():
        parts.append(f"ignored: {_listed(left)}")
    return ". ".join([*parts, *snapshot.troubles()])


def _describe(snapshot: Snapshot) -> dict[str, dg.MetadataValue]:
    return {
        "files": metadata_values.text(snapshot.counts()),
        "new": metadata_values.text(_listed(snapshot.new)),
        "gone": metadata_values.text(_listed(snapshot.gone)),
        "skipped": metadata_values.text(_listed(snapshot.skipped())),
        "not_reached": metadata_values.text("; ".join(snapshot.troubles()) or "none"),
    }


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more or "none"
