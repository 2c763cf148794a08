"""Deployments and trainings in Dagster's event log."""

from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets.graph.asset_keys import input_tag, key_of
from phi_assets.graph.dagster_internals import events_of_run

DEPLOYMENT, MODEL = key_of("online_deployment"), key_of("fine_tuned_model")
CODE = "dagster/code_version"
MOST_EVENTS = 500


@dataclass(frozen=True)
class Deployed:
    """A materialisation of online_deployment: its time (seconds since 1970), its Dagster run, and the weights' form."""

    at: float
    run: str
    form: str = "full"


@dataclass(frozen=True)
class TrainedFrom:
    """The inputs of a model's training, and its Dagster run; unknown texts are empty."""

    run: str
    preset: str
    code_version: str
    dataset_digest: str
    base_digest: str
    replay_digest: str = ""


def deployed(instance: dg.DagsterInstance, model: str, digest: str, at: float) -> Deployed | None:
    """Return the last deployment of `model` (name and version) before the time `at`; None when the event log has none.

    A new deployment receives traffic shortly before its event is written: without one before, return the first after.
    """
    filters = dg.AssetRecordsFilter(asset_key=DEPLOYMENT)
    found = []
    for record in instance.fetch_materializations(filters, limit=MOST_EVENTS).records:
        event = record.asset_materialization
        values: dict[str, Any] = {name: value.value for name, value in event.metadata.items()} if event else {}
        at, run = record.timestamp, record.run_id
        if "made_by_run" in values:  # adopted from another machine, which may have deployed it long before
            made = values.get("record") or {}
            values |= {"model": f"{made.get('model_name')} {made.get('model_version')}"}
            values |= {"model_digest": made.get("model_digest", digest), "form": made.get("form", "full")}
            at, run = float(values["made_at"]), str(values["made_by_run"])
        # A recreated registry numbers its versions from 1 again.
        if values.get("model") == model and (not digest or values.get("model_digest", digest) == digest):
            found.append(Deployed(at, run, str(values.get("form", "full"))))
    before = [each for each in found if each.at <= at]
    return before[0] if before else found[-1] if found else None


def trained_from(instance: dg.DagsterInstance, run_id: str) -> TrainedFrom | None:
    """Return the training of the run, where the model's own record is missing; None when the event log has none."""
    if not run_id:
        return None
    page = events_of_run(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
    for record in page.records:
        event = record.asset_materialization
        if event and event.asset_key == MODEL:
            tags, preset = event.tags or {}, event.metadata.get("preset")
            return TrainedFrom(
                run_id,
                str(preset.value) if preset else "",
                tags.get(CODE, ""),
                tags.get(input_tag("chat_dataset"), ""),
                tags.get(input_tag("base_model"), ""),
                tags.get(input_tag("replay_conversations"), ""),
            )
    return None
