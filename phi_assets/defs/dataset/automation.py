"""Declarative automation of chat_dataset: new data starts a run of it. Training has a sensor of its own."""

import dagster as dg

from phi_assets.graph.asset_keys import key_of
from phi_assets.graph.run_tags import BY_COMMAND, FOLLOWED, RETRIED_WHEN_KILLED, sensor_status
from phi_assets.settings import current

_new_data = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()).allow(
    dg.AssetSelection.assets(key_of("raw_conversations"))
)

# A change counts as handled when a run was requested, not when chat_dataset was updated: a run that began before the
# change may not have read it, so that another run follows. A `phi run` observes the data itself, and sensor
# `new_conversations` observes none while it works.
_handled = (
    dg.AutomationCondition.newly_requested()
    | dg.AutomationCondition.missing()
    | dg.AutomationCondition.any_new_update_has_run_tags(tag_values=BY_COMMAND)
)
TAKE_IN_NEW_DATA = (
    _new_data.since(_handled.with_label("handled")).with_label("new data without a requested run")
    & ~dg.AutomationCondition.in_progress()
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
)

dataset_automation = dg.AutomationConditionSensorDefinition(
    "dataset_automation",
    target=dg.AssetSelection.assets(key_of("chat_dataset")),
    default_status=sensor_status(),
    minimum_interval_seconds=current().watch_seconds,
    run_tags={**FOLLOWED, **RETRIED_WHEN_KILLED},
    description="Materialises chat_dataset when the content of the raw conversations changed.",
)
