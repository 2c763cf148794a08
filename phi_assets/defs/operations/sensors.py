"""Watches of the daemon."""

import dagster as dg

from phi_assets.operate.orphans import fail_dead_runs


@dg.sensor(
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Marks a run as failed within a minute when its process is gone.",
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    dead = fail_dead_runs(context.instance)
    return dg.SkipReason(f"marked as failed: {', '.join(dead)}" if dead else "every run has its process")


SENSORS = (dead_runs,)
