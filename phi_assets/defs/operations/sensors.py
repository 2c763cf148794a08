"""The sensor that ends runs whose process is gone."""

import dagster as dg

from phi_assets.instance.dead_runs import fail_dead_runs
from phi_assets.instance.home import set_pools
from phi_assets.ports.heartbeats import RunHeartbeats


@dg.sensor(
    minimum_interval_seconds=45,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Marks a run as failed within a minute after its process ended, or two after its host died.",
)
def dead_run_monitor(context: dg.SensorEvaluationContext, heartbeats: RunHeartbeats) -> dg.SkipReason:
    set_pools(context.instance)  # under `dg dev` and `dagster dev` no `phi` command sets them
    dead = fail_dead_runs(context.instance, heartbeats)
    return dg.SkipReason(f"marked as failed: {', '.join(dead)}" if dead else "every run has a running process")
