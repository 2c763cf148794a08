"""Azure's retirements, and which of the retired things are in use."""

import datetime as dt

import pytest

from phi_assets.backends.azure.operations import retirements
from phi_assets.backends.azure.operations.retirements import Use


@pytest.mark.guide("retired")
def test_a_retirement_to_come_is_a_warning_and_a_past_one_a_problem():
    use = [Use("PHI_AZURE_VM_SIZE", "Standard_NC12s_v3")]

    assert retirements.found(use, dt.date(2025, 9, 29))[0].verdict == "warning"
    assert retirements.found(use, dt.date(2025, 9, 30))[0].verdict == "problem"
    assert retirements.found([Use("x", "Standard_NC24ads_A100_v4")], dt.date(2026, 1, 1))[0].verdict == "ok"


@pytest.mark.guide("retired")
def test_the_defaults_use_nothing_that_has_stopped():
    used = retirements.uses("Standard_NC24ads_A100_v4", "Standard_E4s_v3", "hf:microsoft/Phi-3.5-mini-instruct")

    assert [each for each in retirements.found(used, dt.date.today()) if each.verdict == "problem"] == []
