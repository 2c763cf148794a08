"""PHI_AZURE_ACCESS_MODE=guide, with shared keys and an identity that may only read blobs: every step still works."""

import pytest

from azure_emulator.control import Control
from tests.support.azure_jobs import MARKS, Work, prepared
from tests.support.azure_place import Place

pytestmark = MARKS


@pytest.fixture
def work(control: Control, tmp_path) -> Work:
    return prepared(Place(control, tmp_path, others={"PHI_AZURE_ACCESS_MODE": "guide"}))


@pytest.mark.long
@pytest.mark.guide("role-storage")
def test_a_model_is_trained_evaluated_and_registered(work: Work):
    trained = work.train()
    assert trained.success, trained.failure
    assert any(line.startswith("epoch 1.00: validation loss") for line in trained.lines)
    assert trained.lines.count("loading torch and transformers") == 1
    assert any("Pipes messages go to this log" in line for line in trained.lines)
    assert any("successfully opened dagster pipes" in line for line in trained.lines)
    assert not [line for line in trained.lines if "did not receive" in line or "__dagster_pipes_version" in line]
    evaluated = work.evaluate(trained.made)
    assert evaluated.success, evaluated.failure
    champion = work.registry.register(trained.made, evaluated.made, {})
    assert work.registry.champion() == champion
