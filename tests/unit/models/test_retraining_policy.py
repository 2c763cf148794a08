"""When new data is worth a training: each rule alone, and in the order in which they are asked."""

from dataclasses import replace

import pytest

from phi_assets.models.retraining_policy import Money, Rules, Situation, decide
from phi_assets.settings import read
from tests.support.graph_facts import AZURE

RULES = Rules(min_new=20, min_growth=0.1, min_drift=0.5, cooldown_minutes=60)


def never():
    raise AssertionError("asked although it decides nothing")


def situation(**others) -> Situation:
    quiet = Situation(new=0, trained_on=1000, drift=lambda: None, minutes_since=None, money=lambda: None)
    return replace(quiet, **others)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"new": 20}, "20 new conversations since the last training on 1000: at least 20 (PHI_RETRAIN_MIN_NEW)"),
        ({"new": 10, "trained_on": 100}, "10% more, at least 10% (PHI_RETRAIN_MIN_GROWTH)"),
        ({"new": 5, "trained_on": 0}, "100% more"),
        ({"new": 5, "drift": lambda: 0.6}, "drift 0.60, at least 0.5 (PHI_RETRAIN_MIN_DRIFT)"),
        ({"new": 20, "minutes_since": 60.0}, "at least 20"),
        ({"new": 20, "money": lambda: Money(left=5.0, dearest_job=4.9)}, "at least 20"),
        ({"new": 20, "money": lambda: Money(left=None, dearest_job=4.9)}, "at least 20"),
    ],
)
def test_training_starts_when_enough_is_new(others, words):
    decision = decide(situation(**others), RULES)

    assert decision.start
    assert words in decision.reason


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"drift": never, "money": never}, "0 new conversations since the last training on 1000"),
        ({"new": 19, "money": never}, "20 or 10% more are needed; too few to judge their drift"),
        ({"new": 19, "drift": lambda: 0.49, "money": never}, "20 or 10% more are needed; drift 0.49 of 0.5"),
        (
            {"new": 20, "minutes_since": 59.0, "drift": never, "money": never},
            "but the last training ended or began 59 minutes ago; 60 must pass (PHI_RETRAIN_COOLDOWN_MINUTES)",
        ),
        (
            {"new": 20, "money": lambda: Money(left=4.0, dearest_job=4.9)},
            "but 4.00 dollars are left of the month's budget (PHI_AZURE_MONTHLY_BUDGET) and the job may cost 4.90",
        ),
    ],
)
def test_training_does_not_start_and_the_reason_is_said(others, words):
    decision = decide(situation(**others), RULES)

    assert not decision.start
    assert words in decision.reason


def test_a_laptop_rests_for_minutes_after_a_training_and_azure_for_a_day():
    assert Rules.of(read({})).cooldown_minutes == 5
    assert Rules.of(read(AZURE)).cooldown_minutes == 24 * 60
