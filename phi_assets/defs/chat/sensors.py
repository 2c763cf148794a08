"""The sensor that takes in the chat's feedback."""

import dagster as dg

from phi_assets.defs.chat.feedback import HISTORY, REVIEWED
from phi_assets.graph.asset_facts import NEEDS_CHAT
from phi_assets.graph.asset_keys import key_of
from phi_assets.graph.run_tags import FOLLOWED, RETRIED_WHEN_KILLED, sensor_status
from phi_assets.graph.staleness import DATA_VERSION, observed
from phi_assets.instance.home import is_at_work
from phi_assets.ports.chat import FeedbackStore
from phi_assets.settings import Settings, current


@dg.sensor(
    # People take minutes for a review, and each tick costs an idle home: `phi run` takes feedback in at once.
    minimum_interval_seconds=20 * current().watch_seconds,
    default_status=sensor_status(),
    target=dg.AssetSelection.assets(key_of("feedback_candidates"), key_of("feedback_conversations")),
    metadata=NEEDS_CHAT,
    description="Takes new ratings into the review queue, and new reviews into the conversations.",
)
def chat_feedback(
    context: dg.SensorEvaluationContext, feedback_store: FeedbackStore, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    if is_at_work(settings, "run"):
        return dg.SkipReason("a `phi` command works on this home and takes feedback in itself")
    events: list[dg.AssetObservation] = []
    wanted: list[str] = []
    for source, asset, version in (
        (HISTORY, "feedback_candidates", feedback_store.rated()),
        (REVIEWED, "feedback_conversations", feedback_store.reviewed()),
    ):
        key = key_of(source)
        before = observed(context.instance, key)
        if before != version:
            events.append(dg.AssetObservation(key, tags={DATA_VERSION: version}))
            wanted += [asset] if before is not None else []
    if not wanted:
        return dg.SensorResult(asset_events=events, skip_reason="no new rating and no new review")
    if "feedback_candidates" in wanted:
        wanted = ["feedback_candidates", "feedback_conversations"]  # what was withdrawn leaves the conversations too
    request = dg.RunRequest(asset_selection=[key_of(name) for name in wanted], tags={**FOLLOWED, **RETRIED_WHEN_KILLED})
    return dg.SensorResult(asset_events=events, run_requests=[request])
