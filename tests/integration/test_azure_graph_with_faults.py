"""The whole Azure graph by `phi run` while 30% of the control plane's calls fail at random."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_emulator.process import LocalAzure, local_azure
from azure_emulator.testing.requirements import azurite_or_skip
from tests.integration.test_whole_azure_graph import JOBS, azure_home, writes

pytestmark = [pytest.mark.long, pytest.mark.azure, pytest.mark.integration, pytest.mark.timeout(1200)]

SHARE = 0.3
FEWEST_CALLS = 200
SEEDS = [1, 2, 3]
FAILING = ("arm", "ml", "quota", "history", "vault")
ENDPOINTS = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[LocalAzure]:
    azurite_or_skip()
    with local_azure(tmp_path / "azure", scale=0.0) as found:
        yield found


@pytest.mark.parametrize("seed", SEEDS)
def test_the_whole_graph_ends_well_and_makes_nothing_twice(azure: LocalAzure, tmp_path: Path, seed: int):
    home = azure_home(tmp_path, 3720 + seed)
    azure.control.hold_seconds(0.2)
    azure.control.fail_randomly(SHARE, seed=seed)
    try:
        home.run()
        calls = [call for service in FAILING for call in azure.control.requests(service=service)]
        azure.control.forget_requests()
        assert home.run() == set()
        again = writes(azure)
    finally:
        azure.control.clear_faults()
        home.phi("down")

    failed = [call for call in calls if call["fault"]]
    assert len(calls) >= FEWEST_CALLS
    assert 0.2 < len(failed) / len(calls) < 0.4
    assert again == []
    assert len(azure.control.executed_jobs()) == JOBS
    kinds = Counter(str(each["type"]).lower() for each in azure.control.resources())
    assert kinds[ENDPOINTS.lower()] == 1
    assert kinds[f"{ENDPOINTS}/deployments".lower()] == 1
    assert kinds["microsoft.machinelearningservices/workspaces"] == 1
    assert set(home.status().values()) == {"fresh"}
