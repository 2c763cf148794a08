"""New data is taken in by itself: the cheap half of the automation."""

import dagster as dg

from phi_assets.graph.run_tags import BY_COMMAND, FOLLOWED, RETRIED_WHEN_KILLED, sensor_status
from phi_assets.settings import current

_new_data = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()).allow(
    dg.AssetSelection.assets("raw_conversations")
)

# Handled is what was requested, not what was updated: a run that began before the change may not have seen it, so what
# changed meanwhile is taken in after it. A `phi run` has observed the data itself, and none is observed beside it.
_handled = (
    dg.AutomationCondition.newly_requested()
    | dg.AutomationCondition.missing()
    | dg.AutomationCondition.any_new_update_has_run_tags(tag_values=BY_COMMAND)
)
TAKE_IN_NEW_DATA = (
    _new_data.since(_handled.with_label("handled")).with_label("new data that was not asked for yet")
    & ~dg.AutomationCondition.in_progress()
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
)

dataset_automation = dg.AutomationConditionSensorDefinition(
    "dataset_automation",
    target=dg.AssetSelection.assets("chat_dataset"),
    default_status=sensor_status(),
    minimum_interval_seconds=current().watch_seconds,
    run_tags={**FOLLOWED, **RETRIED_WHEN_KILLED},
    description="Makes chat_dataset again when the raw conversations have other content than before.",
)
