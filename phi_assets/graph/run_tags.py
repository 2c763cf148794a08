"""Tags of the project's runs."""

import dagster as dg

from phi_assets.settings import current

# On every run of the project, so that the next `phi run` follows one that is still in progress.
FOLLOWED = {"phi/run": "true"}
# The candidate's name, on its Dagster run and its tracked run.
CANDIDATE = "phi/candidate"
# On the runs of a `phi` command, which observes the sources itself and holds the home's lock.
BY_COMMAND = {"phi/command": "true"}
# Retry a run whose process ended; a run that failed at a step would fail again.
RETRIED_WHEN_KILLED = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}
# Metadata key of a step that failed only because Dagster was stopped while it ran: it may be retried.
STOPPED = "stopped_with_dagster"


def sensor_status() -> dg.DefaultSensorStatus:
    """Return RUNNING where PHI_AUTOMATION is on."""
    return dg.DefaultSensorStatus.RUNNING if current().automation == "on" else dg.DefaultSensorStatus.STOPPED


def schedule_status() -> dg.DefaultScheduleStatus:
    """As `sensor_status`, for a schedule."""
    return dg.DefaultScheduleStatus.RUNNING if current().automation == "on" else dg.DefaultScheduleStatus.STOPPED
