"""The rules that decide whether an evaluated model may be promoted: pure functions of the evaluation's numbers.

A number that a rule needs and that is missing or not finite counts against the model, never for it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phi_assets.outcome import CheckOutcome


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The bounds. Bits per byte are completion bits per UTF-8 byte of the assistant's turns; shares are from 0 to 1."""

    fewest_groups: int = 20
    most_bits_lost_to_champion: float = 0.02
    most_right_lost: float = 0.05
    least_general_kept: float = 0.70
    warn_general_kept: float = 0.85
    # With 104 questions a model that truly keeps 85% passes with a probability of 97%, and one that keeps 70% of 3%.
    fewest_general: int = 104
    least_right: float = 0.05
    # Two copies of one model, scored in batches of different shape, differ by about 1e-7 bits per byte.
    rounding: float = 1e-5
    promote_on_insufficient_evidence: bool = False


DEFAULT_RULES = Rules()


def decide(report: Mapping[str, Any], rules: Rules = DEFAULT_RULES) -> dict[str, CheckOutcome]:
    """The outcome of each rule by its name, on the evaluation.json that `evaluation_code` writes. All must pass."""
    return {rule.__name__: rule(report, rules) for rule in RULES}


def better_than_base(report: Mapping[str, Any], rules: Rules = DEFAULT_RULES) -> CheckOutcome:
    """Passes when the 95% upper bound of the tuned model's bits per byte less the base's is below zero."""
    found = _difference(report, "base")
    if found is None:
        return CheckOutcome(False, "the bits per byte of tuned and base cannot be compared: a number is not finite")
    if found["lower"] == found["upper"] == 0:
        return CheckOutcome(False, "the tuned model scores exactly as the base on every row: was it trained?", found)
    passed = found["upper"] < -rules.rounding
    return CheckOutcome(passed, f"{_spoken(found, 'base')}; the upper bound must be below 0", found)


def not_worse_than_champion(report: Mapping[str, Any], rules: Rules = DEFAULT_RULES) -> CheckOutcome:
    """Passes when neither bits per byte nor right answers are clearly worse than the champion's, or there is none.

    Clearly worse: more is lost than the rules allow, and the 95% bounds exclude that nothing is lost. Two trainings of
    one recipe differ by their seeds, so a point estimate alone would refuse one of them.
    """
    if _at(report, "models", "champion") is None and _at(report, "comparisons", "champion") is None:
        return CheckOutcome(True, "no champion yet")
    most = rules.most_bits_lost_to_champion
    found, numbers, reasons, failed = _difference(report, "champion"), {}, [], False
    if found is not None:
        numbers |= found
        failed |= found["difference"] > most and found["lower"] > 0
        reasons.append(f"{_spoken(found, 'champion')}; clearly worse is above {most:+} with a lower bound above 0")
    elif _number(report, "comparisons", "champion", "rows") == 0:
        # enough_evidence decides whether so little evidence suffices.
        reasons.append("the champion trained on every row of the test split, so bits per byte say nothing")
    else:
        failed = True
        reasons.append("the bits per byte of tuned and champion cannot be compared: a number is not finite")
    known = _difference(report, "champion_on_its_own_test")
    if known is not None:
        # Gains on new rows could hide losses on known ones. With fewer rows, only a significant loss counts.
        failed |= known["lower"] > most
        numbers |= {f"known_{each}": value for each, value in known.items()}
        reasons.append(
            f"on the rows that the champion was tested on, {_spoken(known, 'champion')}; "
            f"the lower bound must be at most {most:+}"
        )
    lost = _right_lost_to(report, "champion", rules)
    if lost is not None:
        failed |= not lost.passed
        numbers |= lost.numbers
        reasons.append(lost.description)
    return CheckOutcome(not failed, "; ".join(reasons), numbers)


def answers_questions(report: Mapping[str, Any], rules: Rules = DEFAULT_RULES) -> CheckOutcome:
    """Passes when the model answers clearly more than shuffled keys would credit it with, and no fewer than the base.

    A model that learned the tone and length of the answers, and not the answers, improves its bits per byte; this is
    the rule that it fails.
    """
    if _number(report, "questions", "count") == 0:
        return CheckOutcome(True, "no evaluation questions: the test split alone decides")
    lower = _number(report, "models", "tuned", "questions", "all", "lower")
    share = _number(report, "models", "tuned", "questions", "all", "share")
    lost = _right_lost_to(report, "base", rules)
    if lower is None or share is None or lost is None:
        return CheckOutcome(False, "the evaluation holds no count of right answers")
    shuffled = _number(report, "models", "tuned", "questions", "shuffled_share")
    chance = max(rules.least_right, shuffled or 0.0)
    numbers = {"right": share, "right_lower": lower, "chance": chance, **lost.numbers}
    description = (
        f"{share:.1%} right with a 95% lower bound of {lower:.1%}, which must be above {chance:.1%} "
        f"(what shuffled keys score, or {rules.least_right:.0%}); {lost.description}"
    )
    return CheckOutcome(lower > chance and lost.passed, description, numbers)


def keeps_general_answers(report: Mapping[str, Any], rules: Rules = DEFAULT_RULES) -> CheckOutcome:
    """Passes unless the model clearly forgot: by the 95% lower bound (Wilson) of the share of answers kept.

    Of the questions that the base answers right, the share that the model still answers right. A share below
    `warn_general_kept`, and too few questions to judge by, warn.
    """
    known = _number(report, "models", "tuned", "general_kept", "count")
    if known is None:
        return CheckOutcome(False, "the evaluation holds no count of general answers")
    gained = _number(report, "models", "tuned", "general_gained") or 0
    if known < rules.fewest_general:
        return CheckOutcome(
            True,
            f"the base answers {known:.0f} general questions right, and {rules.fewest_general} are needed to judge by: "
            "whether the model forgot is not known. PHI_GENERAL_QUESTIONS names a file of your own",
            {"base_right": known},
            warning=True,
        )
    kept, lower = (_number(report, "models", "tuned", "general_kept", name) for name in ("share", "lower"))
    if kept is None or lower is None:
        return CheckOutcome(False, "the evaluation holds no share of general answers kept", {"base_right": known})
    description = (
        f"keeps {kept:.1%} of the {known:.0f} general questions that the base answers right, with a 95% lower bound of "
        f"{lower:.1%}, which must be at least {rules.least_general_kept:.0%}; answers {gained:.0f} others right that "
        "the base does not"
    )
    warned = kept < rules.warn_general_kept
    if warned:
        description += f". Below {rules.warn_general_kept:.0%}: look at what it forgot"
    numbers = {"kept": kept, "kept_lower": lower, "base_right": known, "gained": gained}
    passed = lower >= rules.least_general_kept
    remedy = "" if passed else "raise replay_share, or train for fewer epochs or at a lower learning rate"
    return CheckOutcome(passed, f"{description}{'. ' if remedy else ''}{remedy}", numbers, remedy, passed and warned)


def enough_evidence(report: Mapping[str, Any], rules: Rules = DEFAULT_RULES) -> CheckOutcome:
    """Passes when the test split has enough groups, also without what the champion trained on."""
    groups = {"test split": _number(report, "comparisons", "base", "groups") or 0}
    if _at(report, "comparisons", "champion") is not None:
        left = _number(report, "comparisons", "champion", "groups") or 0
        groups["test split less what the champion trained on"] = left
    where, fewest = min(groups.items(), key=lambda item: item[1])
    numbers = {"groups": fewest}
    description = f"the {where} has {fewest:.0f} groups, at least {rules.fewest_groups} are needed"
    if fewest < rules.fewest_groups:
        return _insufficient(f"insufficient evidence: {description}", numbers, rules)
    return CheckOutcome(True, description, numbers)


def _insufficient(description: str, numbers: dict[str, float], rules: Rules) -> CheckOutcome:
    allowed = rules.promote_on_insufficient_evidence
    return CheckOutcome(allowed, description + ("; passed by setting" if allowed else ""), numbers)


def _right_lost_to(report: Mapping[str, Any], other: str, rules: Rules) -> CheckOutcome | None:
    """Whether the tuned model has clearly fewer right answers than `other`; None when no questions were asked."""
    if _number(report, "questions", "count") == 0:
        return None
    ours = _number(report, "models", "tuned", "questions", "all", "share")
    theirs = _number(report, "models", other, "questions", "all", "share")
    upper = _number(report, "comparisons", other, "right", "upper")
    if ours is None or theirs is None or upper is None:
        return CheckOutcome(False, f"the right answers of tuned and {other} cannot be compared")
    # Shares are quotients: 0.85 - 0.80 is above 0.05 by 5e-17.
    passed = theirs - ours <= rules.most_right_lost + 1e-9 or upper >= 0
    description = (
        f"right answers: tuned {ours:.1%}, {other} {theirs:.1%}; clearly worse is more than "
        f"{rules.most_right_lost * 100:g} points fewer with an upper bound below 0 (here {upper * 100:+.1f} points)"
    )
    return CheckOutcome(passed, description, {"right": ours, f"{other}_right": theirs, f"{other}_right_upper": upper})


def _difference(report: Mapping[str, Any], other: str) -> dict[str, float] | None:
    values = {name: _number(report, "comparisons", other, name) for name in ("difference", "lower", "upper")}
    finite = {name: value for name, value in values.items() if value is not None}
    return finite if len(finite) == len(values) else None


def _spoken(found: Mapping[str, float], other: str) -> str:
    return (
        f"tuned - {other} is {found['difference']:+.4f} bits per byte, "
        f"95% bounds {found['lower']:+.4f} to {found['upper']:+.4f}"
    )


def _number(report: Mapping[str, Any], *path: str) -> float | None:
    value = _at(report, *path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _at(report: Mapping[str, Any], *path: str) -> Any:
    value: Any = report
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


RULES = (
    better_than_base,
    not_worse_than_champion,
    answers_questions,
    keeps_general_answers,
    enough_evidence,
)
