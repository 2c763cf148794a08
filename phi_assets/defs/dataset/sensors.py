"""The watch over the places that new conversations come to."""

import json

import dagster as dg

from phi_assets.conversations.sources.snapshot import Seen, see
from phi_assets.graph.run_tags import sensor_status
from phi_assets.graph.staleness import DATA_VERSION, observed
from phi_assets.instance.home import is_at_work
from phi_assets.ports.dataset import DatasetStore
from phi_assets.settings import current

RAW = dg.AssetKey("raw_conversations")
_NAMED = 20  # files that are named one by one


@dg.sensor(
    minimum_interval_seconds=current().watch_seconds,
    default_status=sensor_status(),
    description="Observes raw_conversations when their content changed; a copy or another name is no change.",
)
def new_conversations(context: dg.SensorEvaluationContext, dataset_store: DatasetStore) -> dg.SensorResult:
    if is_at_work(current(), "run"):
        words = "a `phi` command is at work on this home, and looks itself; what comes meanwhile is seen after it"
        return dg.SensorResult(skip_reason=words, cursor=context.cursor)
    seen = see(dataset_store.feeds(patient=False), current().state / "intake" / "parts.json")
    cursor = json.dumps({title: len(part) for title, part in seen.parts.items()} | {"digest": seen.digest})
    if seen.unknown:
        return dg.SensorResult(skip_reason=f"could not look everywhere: {'; '.join(seen.troubles())}", cursor=cursor)
    before = observed(context.instance, RAW)
    if before == seen.digest:
        return dg.SensorResult(skip_reason=_nothing_new(seen), cursor=cursor)
    return dg.SensorResult(
        asset_events=[dg.AssetObservation(RAW, metadata=_describe(seen), tags={DATA_VERSION: seen.digest})],
        cursor=cursor,
    )


def _nothing_new(seen: Seen) -> str:
    said = [f"nothing new: {seen.counts()}"]
    if left := seen.left_alone():
        said.append(f"left alone: {_listed(left)}")
    return ". ".join([*said, *seen.troubles()])


def _describe(seen: Seen) -> dict[str, dg.MetadataValue]:
    return {
        "files": dg.MetadataValue.text(seen.counts()),
        "new": dg.MetadataValue.text(_listed(seen.new)),
        "gone": dg.MetadataValue.text(_listed(seen.gone)),
        "left_alone": dg.MetadataValue.text(_listed(seen.left_alone())),
        "not_reached": dg.MetadataValue.text("; ".join(seen.troubles()) or "none"),
    }


def _listed(said: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return "; ".join(said[:_NAMED]) + more or "none"
