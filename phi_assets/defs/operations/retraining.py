"""The sensor that starts a training when the retraining policy decides so."""

import dagster as dg

from phi_assets.backends.select import build_resources
from phi_assets.defs.operations.jobs import freshness, retrain
from phi_assets.graph.adoption import adopt
from phi_assets.graph.dagster_internals import graph_of_sensor, location_of_sensor
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.graph.run_tags import FOLLOWED, RETRIED_WHEN_KILLED, sensor_status
from phi_assets.graph.staleness import assets_in
from phi_assets.instance.home import is_at_work
from phi_assets.instance.retraining_due import is_due
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.operations import CostReport
from phi_assets.project import LOCATION
from phi_assets.settings import Settings, current


@dg.sensor(
    jobs=[retrain, freshness],
    minimum_interval_seconds=2 * current().watch_seconds,  # a training takes minutes: it may wait for one more
    default_status=sensor_status(),
    description="Adopts what other machines made, and starts job `retrain` when enough new conversations arrived; "
    "each tick gives its reason. Job `freshness` measures the drift that it needs.",
)
def retraining_policy(
    context: dg.SensorEvaluationContext,
    io_manager: dg.ResourceParam[RecordIOManager],
    dataset_store: DatasetStore,
    cost_report: CostReport,
    catalog: AssetCatalog,
    settings: dg.ResourceParam[Settings],
) -> dg.RunRequest | dg.SkipReason:
    resources = {
        "io_manager": io_manager,
        "dataset_store": dataset_store,
        "cost_report": cost_report,
        "catalog": catalog,
    }
    graph = graph_of_sensor(context)
    if graph and not is_at_work(settings, "run"):
        adopt(context.instance, assets_in(graph), build_resources(settings), context.log.info)
    due = is_due(context.instance, settings, resources, location_of_sensor(context) or LOCATION)
    if due.measure:
        context.log.info(due.decision.reason)
        return dg.RunRequest(run_key=due.run_key, job_name=freshness.name)
    if not due.decision.start:
        return dg.SkipReason(due.decision.reason)
    context.log.info(due.decision.reason)
    return dg.RunRequest(
        run_key=due.run_key, job_name=retrain.name, tags={**FOLLOWED, **RETRIED_WHEN_KILLED, **(due.tags or {})}
    )
