"""The sensor that observes the sources of new conversations."""

import json

import dagster as dg

from phi_assets.conversations.sources.snapshot import Seen, see
from phi_assets.graph.run_tags import sensor_status
from phi_assets.graph.staleness import DATA_VERSION, observed
from phi_assets.instance.home import is_at_work
from phi_assets.ports.dataset import DatasetStore
from phi_assets.settings import current

RAW = dg.AssetKey("raw_conversations")
_NAMED = 20  # maximum number of files that are listed by name


@dg.sensor(
    minimum_interval_seconds=current().watch_seconds,
    default_status=sensor_status(),
    description="Observes raw_conversations when their content changed; a copy or a renamed file is no change.",
)
def new_conversations(context: dg.SensorEvaluationContext, dataset_store: DatasetStore) -> dg.SensorResult:
    if is_at_work(current(), "run"):
        words = "a `phi` command works on this home and observes the sources itself; later files are observed after it"
        return dg.SensorResult(skip_reason=words, cursor=context.cursor)
    seen = see(dataset_store.feeds(patient=False), current().state / "intake" / "parts.json")
    cursor = json.dumps({title: len(part) for title, part in seen.parts.items()} | {"digest": seen.digest})
    if seen.unknown:
        return dg.SensorResult(skip_reason=f"could not read every source: {'; '.join(seen.troubles())}", cursor=cursor)
    before = observed(context.instance, RAW)
    if before == seen.digest:
        return dg.SensorResult(skip_reason=_nothing_new(seen), cursor=cursor)
    return dg.SensorResult(
        asset_events=[dg.AssetObservation(RAW, metadata=_describe(seen), tags={DATA_VERSION: seen.digest})],
        cursor=cursor,
    )


def _nothing_new(seen: Seen) -> str:
    parts = [f"nothing new: {seen.counts()}"]
    if left := seen.left_alone():
        parts.append(f"ignored: {_listed(left)}")
    return ". ".join([*parts, *seen.troubles()])


def _describe(seen: Seen) -> dict[str, dg.MetadataValue]:
    return {
        "files": dg.MetadataValue.text(seen.counts()),
        "new": dg.MetadataValue.text(_listed(seen.new)),
        "gone": dg.MetadataValue.text(_listed(seen.gone)),
        "left_alone": dg.MetadataValue.text(_listed(seen.left_alone())),
        "not_reached": dg.MetadataValue.text("; ".join(seen.troubles()) or "none"),
    }


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more or "none"
