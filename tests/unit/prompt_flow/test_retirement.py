"""The date on which Prompt flow is retired, as the check of the chat flow and the preflight tell it."""

import datetime as dt

import pytest

from phi_assets.backends.azure.operations import retirements
from phi_assets.prompt_flow import retirement
from phi_assets.prompt_flow.retirement import judged


@pytest.mark.parametrize(
    ("day", "time_left", "words"),
    [
        ("2026-11-30", True, "in 141 days"),
        ("2027-01-19", True, "in 91 days"),
        ("2027-01-20", False, "in 90 days"),
        ("2027-04-19", False, "in 1 days"),
        ("2027-04-20", False, "was retired on 2027-04-20"),
    ],
)
def test_it_warns_from_three_months_before_on(day: str, time_left: bool, words: str) -> None:
    passed, described = judged(dt.date.fromisoformat(day))
    assert passed is time_left
    assert words in described
    assert ("leave-prompt-flow.md" in described) is not time_left


def test_the_preflight_tells_the_same_date() -> None:
    [row] = [row for row in retirements.TABLE if row.what == "Prompt flow"]
    assert (row.on, row.source) == (retirement.ON, retirement.SOURCE)
