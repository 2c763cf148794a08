"""Schedules."""

import dagster as dg

from phi_assets.defs.operations.jobs import freshness
from phi_assets.graph.run_tags import schedule_status

hourly_freshness = dg.ScheduleDefinition(
    name="hourly_freshness",
    job=freshness,
    cron_schedule="0 * * * *",
    default_status=schedule_status(),
    description="Runs the freshness checks every hour; they only warn, and materialise nothing.",
)

SCHEDULES = (hourly_freshness,)
