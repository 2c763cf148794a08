"""The gate's rules, number by number."""

import copy
import dataclasses
import math
from typing import Any

import pytest

from evaluation_code.intervals import wilson
from phi_assets.models.promotion_rules import Rules, decide
from phi_assets.outcome import CheckOutcome

Path = tuple[str, ...]


def share(right: int, count: int, lower: float) -> dict[str, Any]:
    return {"right": right, "count": count, "share": right / count, "lower": lower, "upper": 1.0}


def model(right: int, lower: float, kept: int) -> dict[str, Any]:
    return {
        "bits_per_byte": 1.0,
        "questions": {"all": share(right, 80, lower), "shuffled_share": 0.0125},
        "general_kept": dataclasses.asdict(wilson(kept, 250)),
        "general_gained": 4,
    }


def passing(*, champion: bool = False) -> dict[str, Any]:
    """A report on which every rule passes."""
    difference = {"difference": -0.8, "lower": -0.9, "upper": -0.7, "rows": 30, "groups": 28}
    difference["right"] = {"difference": 0.9, "lower": 0.8, "upper": 0.95}
    against = {"difference": -0.01, "lower": -0.03, "upper": 0.01, "rows": 26, "groups": 24, "left_out_rows": 4}
    against["right"] = {"difference": -0.02, "lower": -0.08, "upper": -0.01}
    return {
        "questions": {"count": 80},
        "general": {"count": 300, "base_right": 250},
        "models": {
            "base": model(2, 0.0, 250),
            "tuned": model(72, 0.81, 230),
            "champion": model(74, 0.84, 220) if champion else None,
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
        (("models", "tuned", "questions", "shuffled_share"), 0.9, "answers_questions"),
        ((*KEPT, "lower"), 0.699, "keeps_general_answers"),
        ((*KEPT, "lower"), None, "keeps_general_answers"),
        ((*KEPT, "share"), math.nan, "keeps_general_answers"),
        ((*KEPT, "count"), None, "keeps_general_answers"),
    ],
)
def test_one_bad_number_is_refused_by_the_rule_that_reads_it(path: Path, value: Any, rule: str):
    assert refused(changed(path, value)) == [rule]


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
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
        ((*CHAMPION, "upper"), 0.3),  # few rows: a worse model is possible, and nothing shows it
        ((*CHAMPION, "difference"), 0.3),
        ((*CHAMPION, "lower"), 0.01),  # surely worse, by less than 0.02 bits
        (("models", "champion", "questions", "all", "share"), 0.95),  # five points more than the tuned model's 0.90
        ((*CHAMPION, "groups"), 20),
        ((*KEPT, "lower"), 0.70),
        ((*KEPT, "count"), 103),
        ((*KEPT, "count"), 0),
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


def against_the_champion(difference: float, lower: float) -> dict[str, Any]:
    report = passing(champion=True)
    report["comparisons"]["champion"].update(difference=difference, lower=lower, upper=2 * difference)
    return report


@pytest.mark.parametrize(("difference", "lower", "passed"), [(0.03, -0.001, True), (0.03, 0.001, False)])
def test_bits_lost_to_the_champion_count_when_chance_is_excluded(difference: float, lower: float, passed: bool):
    assert verdict_of(against_the_champion(difference, lower), "not_worse_than_champion").passed is passed


@pytest.mark.parametrize(("other", "rule"), [("champion", "not_worse_than_champion"), ("base", "answers_questions")])
@pytest.mark.parametrize(("upper", "passed"), [(0.0, True), (0.01, True), (-0.01, False), (None, False)])
def test_right_answers_lost_count_when_chance_is_excluded(other: str, rule: str, upper: float | None, passed: bool):
    report = passing(champion=True)
    report["models"][other]["questions"]["all"]["share"] = 1.0
    report["comparisons"][other]["right"]["upper"] = upper
    assert verdict_of(report, rule).passed is passed


def pass_probability(kept: float, questions: int) -> float:
    """The exact probability that a model which truly keeps the share `kept` passes, with so many questions."""
    total = 0.0
    for right in range(questions + 1):
        report = passing()
        report["models"]["tuned"]["general_kept"] = dataclasses.asdict(wilson(right, questions))
        if verdict_of(report, "keeps_general_answers").passed:
            total += math.comb(questions, right) * kept**right * (1 - kept) ** (questions - right)
    return total


@pytest.mark.parametrize(("questions", "least"), [(104, 0.96), (150, 0.98), (200, 0.98), (250, 0.98), (300, 0.98)])
def test_the_general_gate_passes_who_keeps_85_percent_and_refuses_who_keeps_70(questions: int, least: float):
    assert pass_probability(0.85, questions) >= least
    assert pass_probability(0.70, questions) <= 0.05


def test_too_few_general_questions_warn_and_never_refuse():
    report = passing()
    report["models"]["tuned"]["general_kept"] = dataclasses.asdict(wilson(0, 103))
    found = verdict_of(report, "keeps_general_answers")
    assert (found.passed, found.warning) == (True, True)
    assert "104 are needed" in found.description
    assert "PHI_GENERAL_QUESTIONS" in found.description


@pytest.mark.parametrize(("kept", "warning"), [(213, False), (212, True)])
def test_less_than_85_percent_kept_warns(kept: int, warning: bool):
    report = passing()
    report["models"]["tuned"]["general_kept"] = dataclasses.asdict(wilson(kept, 250))
    found = verdict_of(report, "keeps_general_answers")
    assert (found.passed, found.warning) == (True, warning)
    assert "answers 4 others right that the base does not" in found.description


def test_both_bounds_of_the_general_gate_are_settings():
    report = passing()
    report["models"]["tuned"]["general_kept"] = dataclasses.asdict(wilson(150, 250))
    refused_by_default = verdict_of(report, "keeps_general_answers")
    assert not refused_by_default.passed
    assert refused_by_default.description.endswith(refused_by_default.remedy)
    lenient = decide(report, Rules(least_general_kept=0.5, warn_general_kept=0.55))["keeps_general_answers"]
    assert (lenient.passed, lenient.warning) == (True, False)


@pytest.mark.parametrize("path", [(*BASE, "groups")])
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
