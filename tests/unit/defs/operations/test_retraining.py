"""The runs that sensor `retraining_policy` starts: a training, or the measurement that a decision needs."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.defs.operations.retraining import retraining_policy
from tests.unit.instance.test_retraining_due import World, measured


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A home where only drift can start a training, and it is not measured yet."""
    with dg.DagsterInstance.ephemeral() as instance:
        its = World(tmp_path, instance, PHI_RETRAIN_MIN_GROWTH="1", PHI_RETRAIN_MIN_DRIFT="0.2")
        its.train(its.publish(100))
        its.publish(115)
        yield its


def tick(world: World) -> dg.RunRequest | dg.SkipReason:
    resources = {**world.resources, "cost_report": None, "settings": world.settings}
    with dg.build_sensor_context(instance=world.instance, resources=resources) as context:
        found = retraining_policy(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def test_unknown_drift_starts_one_run_that_measures_it(world):
    asked, again = tick(world), tick(world)

    assert isinstance(asked, dg.RunRequest)
    assert isinstance(again, dg.RunRequest)
    assert (asked.job_name, asked.tags) == ("freshness", {})
    assert asked.run_key
    assert asked.run_key == again.run_key  # with which Dagster starts no second run


def test_measured_drift_starts_a_training_or_none(world):
    measured(world, 0.3)
    due = tick(world)
    measured(world, 0.1)
    quiet = tick(world)

    assert isinstance(due, dg.RunRequest)
    assert due.job_name == "retrain"
    assert "drift 0.30" in due.tags["phi/reason"]
    assert isinstance(quiet, dg.SkipReason)
    assert quiet.skip_message
    assert "drift 0.10 of 0.2" in quiet.skip_message
