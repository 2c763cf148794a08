"""The watch that tells a person of failures."""

import dagster as dg

from phi_assets.settings import current


def _status() -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if current().webhook else dg.DefaultSensorStatus.STOPPED


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=_status(),
    description="Tells the webhook of failed runs, steps and checks: once for each cause.",
)
def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    from phi_assets.notifications.send import tell

    webhook = current().webhook
    if webhook is None:
        return dg.SkipReason("PHI_WEBHOOK is not set: nobody is told of failures")
    cursor, said = tell(context.instance, current(), webhook, context.cursor)
    context.update_cursor(cursor)
    return dg.SkipReason("; ".join(said) or "nothing new failed")
