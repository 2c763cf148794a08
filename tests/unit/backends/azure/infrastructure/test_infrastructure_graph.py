"""The infrastructure's assets, checks and gates, as Dagster runs them."""

import json
import subprocess
import sys

import pytest

from tests.support.azure_place import names
from tests.support.graph_facts import environment

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()
FAMILY = "standardNCADSA100v4Family"


def run(tmp_path, **settings: str) -> dict:
    """What `run_infrastructure` says on a place nobody has been to."""
    name = next(NAMES)
    place = {"PHI_AZURE_NAME": name, "PHI_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.run_infrastructure"],
        env={**environment("azure"), **place, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {"name": name, **json.loads(done.stdout.strip().splitlines()[-1])}


# The guide's mode: test_infrastructure.py::test_the_guides_mode_passes_its_own_checks.
@pytest.mark.parametrize("mode", ["keyless", pytest.param("guide", marks=pytest.mark.long)])
def test_everything_is_made_every_check_passes_and_all_is_fresh(control, tmp_path, mode):
    said = run(tmp_path, PHI_AZURE_ACCESS_MODE=mode)

    assert said["failures"] == []
    assert said["success"]
    assert [name for name, passed in said["checks"].items() if not passed] == []
    assert len(said["checks"]) > 20
    assert set(said["states"].values()) == {"fresh"}
    # What comes next begins with another look at the quota.
    assert set(said["next"]) & set(said["states"]) == {"gpu_quota"}


@pytest.mark.guide("gpu-quota")
@pytest.mark.parametrize(
    ("setting", "value", "check"), [("", "", "enough_quota"), ("PHI_AZURE_MAX_JOB_COST", "1", "cost_within_ceiling")]
)
def test_without_quota_or_beyond_the_ceiling_nothing_is_made(control, tmp_path, setting, value, check):
    control.set_quota(FAMILY, 100 if setting else 0)
    control.forget_requests()
    try:
        said = run(tmp_path, **({setting: value} if setting else {}))
    finally:
        control.set_quota(FAMILY, 100)

    assert said["checks"][f"gpu_quota:{check}"] is False
    assert said["states"]["resource_group"] == "blocked"
    assert said["next"] == ["gpu_quota"]  # it is looked at again
    assert control.requests(writes_only=True) == []
