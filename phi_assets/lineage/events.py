"""What Dagster's event log knows of a deployment and of a training."""

from dataclasses import dataclass

import dagster as dg

DEPLOYMENT, MODEL = dg.AssetKey("online_deployment"), dg.AssetKey("fine_tuned_model")
CODE, INPUT = "dagster/code_version", "dagster/input_data_version/"
MOST_EVENTS = 500


@dataclass(frozen=True)
class Deployed:
    """A materialisation of online_deployment: when (seconds since 1970), and in which Dagster run."""

    at: float
    run: str


@dataclass(frozen=True)
class TrainedFrom:
    """How a model was made, and in which Dagster run; texts are empty where nothing is known."""

    run: str
    preset: str
    code_version: str
    dataset_digest: str
    base_digest: str


def deployed(instance: dg.DagsterInstance, model: str, digest: str, at: float) -> Deployed | None:
    """The last deployment of `model` (name and version) before the moment; None when the event log has none.

    A new deployment has the traffic a little before its event is written: then it is the first one after.
    """
    filters = dg.AssetRecordsFilter(asset_key=DEPLOYMENT)
    found = []
    for record in instance.fetch_materializations(filters, limit=MOST_EVENTS).records:
        event = record.asset_materialization
        said = {name: value.value for name, value in event.metadata.items()} if event else {}
        # A registry that was begun anew counts from 1 again.
        if said.get("model") == model and (not digest or said.get("model_digest", digest) == digest):
            found.append(Deployed(record.timestamp, record.run_id))
    before = [each for each in found if each.at <= at]
    return before[0] if before else found[-1] if found else None


def trained_from(instance: dg.DagsterInstance, run_id: str) -> TrainedFrom | None:
    """The training of that run, for when the model's own record is gone; None when the event log has none."""
    if not run_id:
        return None
    page = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    for record in page.records:
        event = record.asset_materialization
        if event and event.asset_key == MODEL:
            tags, preset = event.tags or {}, event.metadata.get("preset")
            return TrainedFrom(
                run_id,
                str(preset.value) if preset else "",
                tags.get(CODE, ""),
                tags.get(f"{INPUT}chat_dataset", ""),
                tags.get(f"{INPUT}base_model", ""),
            )
    return None
