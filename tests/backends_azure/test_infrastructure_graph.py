"""The infrastructure's assets, checks and gates, as Dagster runs them."""

import json
import subprocess
import sys

import pytest

from tests.backends_azure.place import names
from tests.graph_facts import environment

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()
FAMILY = "standardNCADSA100v4Family"


def run(tmp_path, **settings: str) -> dict:
    """What `run_infrastructure` says on a place nobody has been to."""
    name = next(NAMES)
    place = {"PHI_AZURE_NAME": name, "PHI_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.backends_azure.run_infrastructure"],
        env={**environment("azure"), **place, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {"name": name, **json.loads(done.stdout.strip().splitlines()[-1])}


@pytest.mark.parametrize("mode", ["keyless", "guide"])
def test_everything_is_made_every_check_passes_and_all_is_fresh(control, tmp_path, mode):
    said = run(tmp_path, PHI_AZURE_ACCESS_MODE=mode)

    assert said["failures"] == []
    assert said["success"]
    assert [name for name, passed in said["checks"].items() if not passed] == []
    assert len(said["checks"]) > 20
    assert set(said["states"].values()) == {"fresh"}
    assert not set(said["next"]) & set(said["states"])


@pytest.mark.guide("gpu-quota")
def test_without_quota_nothing_that_costs_is_made(control, tmp_path):
    control.set_quota(FAMILY, 0)
    try:
        said = run(tmp_path)
    finally:
        control.set_quota(FAMILY, 100)

    assert said["checks"]["gpu_quota:enough_quota"] is False
    assert said["states"]["training_compute"] == "blocked"
    clusters = control.requests(verb="PUT", match="computes/training")
    assert [request for request in clusters if f"/rg-{said['name']}/" in request["path"].lower()] == []
