"""What is done by the clock."""

import dagster as dg

from phi_assets.defs.operations.jobs import freshness
from phi_assets.graph.run_tags import schedule_status

hourly_freshness = dg.ScheduleDefinition(
    name="hourly_freshness",
    job=freshness,
    cron_schedule="0 * * * *",
    default_status=schedule_status(),
    description="Asks every hour whether all is fresh; it computes nothing, and warns.",
)

SCHEDULES = (hourly_freshness,)
