"""Tags by which runs of ours are known."""

import dagster as dg

from phi_assets.settings import current

# On every run of ours, so that the next `phi run` takes up one that is still going.
FOLLOWED = {"phi/run": "true"}
# Its name, on the run of a candidate, and on what it is tracked by.
CANDIDATE = "phi/candidate"
# Of a `phi` command that observes the sources itself, and is alone while it works.
BY_COMMAND = {"phi/command": "true"}
# A run whose process is gone is started again; one that failed for a reason would fail again.
RETRIED_WHEN_KILLED = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}
# Metadata of a step that failed only because Dagster was ended above it: worth another try.
STOPPED = "stopped_with_dagster"


def sensor_status() -> dg.DefaultSensorStatus:
    """Running where the setting PHI_AUTOMATION says on."""
    return dg.DefaultSensorStatus.RUNNING if current().automation == "on" else dg.DefaultSensorStatus.STOPPED


def schedule_status() -> dg.DefaultScheduleStatus:
    """As `sensor_status`, for a schedule."""
    return dg.DefaultScheduleStatus.RUNNING if current().automation == "on" else dg.DefaultScheduleStatus.STOPPED
