"""The sensor that sends failures to the webhook."""

import dagster as dg

from phi_assets.graph.dagster_internals import checks_in, graph_of_sensor, location_of_sensor
from phi_assets.project import LOCATION
from phi_assets.settings import Settings, current


def _status() -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if current().webhook else dg.DefaultSensorStatus.STOPPED


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=_status(),
    description="Sends failed runs, steps and checks to the webhook, once for each incident.",
)
def alerts(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SkipReason:
    from phi_assets.notifications.send import tick

    webhook = settings.webhook
    if webhook is None:
        return dg.SkipReason("PHI_WEBHOOK is not set: no failure messages are sent")
    graph, location = graph_of_sensor(context), location_of_sensor(context) or LOCATION
    checks = checks_in(graph) if graph else []
    cursor, report = tick(context.instance, settings, webhook, context.cursor, checks, location)
    context.update_cursor(cursor)
    return dg.SkipReason("; ".join(report) or "nothing new failed")
