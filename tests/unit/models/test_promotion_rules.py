"""The gate's rules, number by number."""

import copy
import math
from typing import Any

import pytest

from phi_assets.models.promotion_rules import Rules, decide
from phi_assets.outcome import CheckOutcome

Path = tuple[str, ...]


def share(right: int, count: int, lower: float) -> dict[str, Any]:
    return {"right": right, "count": count, "share": right / count, "lower": lower, "upper": 1.0}


def model(right: int, lower: float, kept: int) -> dict[str, Any]:
    return {
        "bits_per_byte": 1.0,
        "questions": {"all": share(right, 80, lower), "shuffled_share": 0.0125},
        "general_kept": share(kept, 30, 0.0),
    }


def passing(*, champion: bool = False) -> dict[str, Any]:
    """A report on which every rule passes."""
    difference = {"difference": -0.8, "lower": -0.9, "upper": -0.7, "rows": 30, "groups": 28}
    against = {"difference": -0.01, "lower": -0.03, "upper": 0.01, "rows": 26, "groups": 24, "left_out_rows": 4}
    return {
        "questions": {"count": 80},
        "general": {"count": 40, "base_right": 30},
        "models": {
            "base": model(2, 0.0, 30),
            "tuned": model(72, 0.81, 28),
            "champion": model(74, 0.84, 27) if champion else None,
        },
        "comparisons": {"base": difference, "champion": against if champion else None},
    }


def changed(path: Path, value: Any, *, champion: bool = False) -> dict[str, Any]:
    report = copy.deepcopy(passing(champion=champion))
    place = report
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return report


def refused(report: dict[str, Any], rules: Rules | None = None) -> list[str]:
    return [name for name, outcome in decide(report, rules or Rules()).items() if not outcome.passed]


def verdict_of(report: dict[str, Any], name: str) -> CheckOutcome:
    return decide(report)[name]


BASE = ("comparisons", "base")
CHAMPION = ("comparisons", "champion")
TUNED_RIGHT = ("models", "tuned", "questions", "all")
KEPT = ("models", "tuned", "general_kept")


@pytest.mark.parametrize("champion", [False, True])
def test_a_better_model_passes_every_rule(champion: bool):
    assert refused(passing(champion=champion)) == []
    assert list(decide(passing())) == [
        "better_than_base",
        "not_worse_than_champion",
        "answers_questions",
        "keeps_general_answers",
        "enough_evidence",
    ]


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ((*BASE, "upper"), 0.0, "better_than_base"),
        ((*BASE, "upper"), 0.01, "better_than_base"),
        ((*BASE, "upper"), -1e-7, "better_than_base"),
        ((*BASE, "upper"), math.nan, "better_than_base"),
        ((*BASE, "upper"), -math.inf, "better_than_base"),
        ((*BASE, "upper"), None, "better_than_base"),
        ((*BASE, "upper"), "-1", "better_than_base"),
        ((*BASE, "upper"), True, "better_than_base"),
        ((*BASE, "difference"), None, "better_than_base"),
        ((*BASE, "groups"), 19, "enough_evidence"),
        ((*BASE, "groups"), None, "enough_evidence"),
        ((*TUNED_RIGHT, "lower"), 0.05, "answers_questions"),
        ((*TUNED_RIGHT, "lower"), None, "answers_questions"),
        (("models", "tuned", "questions"), None, "answers_questions"),
        (("models", "base", "questions", "all", "share"), 0.96, "answers_questions"),
        (("models", "tuned", "questions", "shuffled_share"), 0.9, "answers_questions"),
        ((*KEPT, "share"), 0.79, "keeps_general_answers"),
        ((*KEPT, "share"), math.nan, "keeps_general_answers"),
        ((*KEPT, "count"), 24, "keeps_general_answers"),
        ((*KEPT, "count"), None, "keeps_general_answers"),
    ],
)
def test_one_bad_number_is_refused_by_the_rule_that_reads_it(path: Path, value: Any, rule: str):
    assert refused(changed(path, value)) == [rule]


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ((*CHAMPION, "upper"), 0.0201, "not_worse_than_champion"),
        ((*CHAMPION, "upper"), math.nan, "not_worse_than_champion"),
        ((*CHAMPION, "lower"), None, "not_worse_than_champion"),
        (CHAMPION, None, "not_worse_than_champion"),
        (("models", "champion", "questions", "all", "share"), 0.9501, "not_worse_than_champion"),
        (("models", "champion", "questions"), None, "not_worse_than_champion"),
        ((*CHAMPION, "groups"), 19, "enough_evidence"),
    ],
)
def test_one_bad_number_against_the_champion_is_refused(path: Path, value: Any, rule: str):
    assert refused(changed(path, value, champion=True)) == [rule]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*CHAMPION, "upper"), 0.02),
        (("models", "champion", "questions", "all", "share"), 0.95),  # five points more than the tuned model's 0.90
        ((*CHAMPION, "groups"), 20),
        ((*KEPT, "share"), 0.80),
        ((*KEPT, "count"), 25),
        ((*BASE, "groups"), 20),
        (("models", "tuned", "questions", "shuffled_share"), None),
    ],
)
def test_the_bounds_themselves_pass(path: Path, value: Any):
    assert refused(changed(path, value, champion=True)) == []


def test_an_empty_report_passes_no_rule_but_the_champions():
    assert refused({}) == ["better_than_base", "answers_questions", "keeps_general_answers", "enough_evidence"]


def test_no_champion_is_said_so():
    verdict = verdict_of(passing(), "not_worse_than_champion")
    assert (verdict.passed, verdict.description) == (True, "no champion yet")


def test_no_questions_are_said_so_and_leave_the_test_split_to_decide():
    report = changed(("questions", "count"), 0, champion=True)
    for name in ("base", "tuned", "champion"):
        report["models"][name]["questions"] = None
    assert refused(report) == []
    assert "no evaluation questions" in verdict_of(report, "answers_questions").description


def test_a_model_that_scores_exactly_as_its_base_is_asked_whether_it_was_trained():
    report = passing()
    report["comparisons"]["base"].update(difference=0.0, lower=0.0, upper=0.0)
    verdict = verdict_of(report, "better_than_base")
    assert not verdict.passed
    assert "was it trained?" in verdict.description


def test_a_model_that_says_every_answer_is_refused_by_what_shuffled_keys_score():
    report = passing()
    report["models"]["tuned"]["questions"] = {"all": share(80, 80, 0.95), "shuffled_share": 1.0}
    assert refused(report) == ["answers_questions"]


@pytest.mark.parametrize("path", [(*BASE, "groups"), (*KEPT, "count")])
def test_insufficient_evidence_passes_by_the_setting_alone_and_says_so(path: Path):
    report = changed(path, 3)
    (name,) = refused(report)
    assert verdict_of(report, name).description.startswith("insufficient evidence")
    verdict = decide(report, Rules(promote_on_insufficient_evidence=True))[name]
    assert verdict.passed
    assert verdict.description.endswith("passed by setting")


def test_the_setting_forgives_nothing_else():
    report = changed((*BASE, "upper"), 0.01)
    report["comparisons"]["base"]["groups"] = 3
    assert refused(report, Rules(promote_on_insufficient_evidence=True)) == ["better_than_base"]


def test_the_numbers_of_a_verdict_are_finite_numbers():
    for report in (passing(champion=True), changed((*BASE, "upper"), math.nan), {}):
        for verdict in decide(report).values():
            assert all(math.isfinite(number) for number in verdict.numbers.values())


@pytest.mark.parametrize(("lower", "passed"), [(0.019, True), (0.021, False)])
def test_new_rows_do_not_pay_for_what_was_surely_unlearned_of_the_old(lower: float, passed: bool):
    known = {"difference": 0.3, "lower": lower, "upper": 0.6, "rows": 15, "groups": 15}
    report = changed(("comparisons", "champion_on_its_own_test"), known, champion=True)

    found = verdict_of(report, "not_worse_than_champion")

    assert found.passed is passed
    assert "on the rows that the champion was tested on" in found.description
    assert found.numbers["known_lower"] == lower
