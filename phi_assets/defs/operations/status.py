"""Whether what starts by itself is switched on when nobody has touched its switch in the UI."""

import dagster as dg

from phi_assets.settings import current


def sensor_status() -> dg.DefaultSensorStatus:
    """Running where the setting PHI_AUTOMATION says on."""
    return dg.DefaultSensorStatus.RUNNING if current().automation == "on" else dg.DefaultSensorStatus.STOPPED


def schedule_status() -> dg.DefaultScheduleStatus:
    """As `sensor_status`, for a schedule."""
    return dg.DefaultScheduleStatus.RUNNING if current().automation == "on" else dg.DefaultScheduleStatus.STOPPED
