"""How often sensors tick: most of an idle home's CPU is their ticks, and new data must not wait for long."""

import pytest

from phi_assets.conversations.sources.complete_files import QUIET_SECONDS
from phi_assets.definitions import definitions

LOOP_SECONDS = 5  # Dagster's daemon looks every 5 seconds which sensors are due


@pytest.fixture(scope="module")
def intervals() -> dict[str, int]:
    """The seconds between the ticks of each sensor, by default on a laptop."""
    sensors = definitions().get_repository_def().sensor_defs
    return {each.name: each.minimum_interval_seconds or 30 for each in sensors}


def test_a_file_starts_a_run_within_about_a_minute(intervals):
    waits = [intervals[name] + LOOP_SECONDS for name in ("new_conversations", "dataset_automation")]

    assert QUIET_SECONDS + sum(waits) / 2 <= 45  # on average
    assert QUIET_SECONDS + sum(waits) <= 75  # at most


def test_a_run_whose_process_ended_is_marked_within_a_minute(intervals):
    assert intervals["dead_run_monitor"] + LOOP_SECONDS <= 60


def test_few_sensors_tick_in_a_minute_of_an_idle_home(intervals):
    ticks = {name: 60 / seconds for name, seconds in intervals.items()}

    assert sum(ticks.values()) - ticks["alerts"] < 6.5
    assert ticks["alerts"] <= 2
