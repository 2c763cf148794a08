"""The retraining policy: a pure function from a situation to a decision with its reason."""

from collections.abc import Callable
from dataclasses import dataclass

from phi_assets.settings import Settings


@dataclass(frozen=True)
class Rules:
    """The settings `PHI_RETRAIN_*`."""

    min_new: int
    min_growth: float
    min_drift: float
    cooldown_minutes: float

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        return cls(
            settings.retrain_min_new,
            settings.retrain_min_growth,
            settings.retrain_min_drift,
            settings.retrain_cooldown_minutes,
        )


@dataclass(frozen=True)
class Money:
    """The rest of the month's budget (None: no budget is set) and the maximum cost of a job, in US dollars."""

    left: float | None
    dearest_job: float


@dataclass(frozen=True)
class Situation:
    """What is new since the last training. Values that cost time or requests are callables, called only where needed.

    `drift` is None where too little is new to judge; `minutes_since` is None before the first training.
    """

    new: int
    trained_on: int
    drift: Callable[[], float | None]
    minutes_since: float | None
    money: Callable[[], Money | None]


@dataclass(frozen=True)
class Decision:
    """Whether training starts now, and why or why not."""

    start: bool
    reason: str


def decide(situation: Situation, rules: Rules) -> Decision:
    """Start when enough is new, unless the last training is too recent or the month's budget is spent."""
    cause = _cause(situation, rules)
    if not cause.start:
        return cause
    objection = _too_soon(situation, rules) or _too_dear(situation)
    return Decision(False, f"{cause.reason}, but {objection}") if objection else cause


def _cause(situation: Situation, rules: Rules) -> Decision:
    new, trained_on = situation.new, situation.trained_on
    said = f"{new} new conversations since the last training on {trained_on}"
    if new < 1:
        return Decision(False, said)
    if new >= rules.min_new:
        return Decision(True, f"{said}: at least {rules.min_new} (PHI_RETRAIN_MIN_NEW)")
    growth = new / trained_on if trained_on else 1.0
    if growth >= rules.min_growth:
        return Decision(True, f"{said}: {growth:.0%} more, at least {rules.min_growth:.0%} (PHI_RETRAIN_MIN_GROWTH)")
    drift = situation.drift()
    if drift is not None and drift >= rules.min_drift:
        return Decision(True, f"{said}: drift {drift:.2f}, at least {rules.min_drift:g} (PHI_RETRAIN_MIN_DRIFT)")
    judged = "too few to judge their drift" if drift is None else f"drift {drift:.2f} of {rules.min_drift:g}"
    return Decision(False, f"{said}: {rules.min_new} or {rules.min_growth:.0%} more are needed; {judged}")


def _too_soon(situation: Situation, rules: Rules) -> str:
    since = situation.minutes_since
    if since is None or since >= rules.cooldown_minutes:
        return ""
    return (
        f"the last training ended or began {since:.0f} minutes ago; "
        f"{rules.cooldown_minutes:g} must pass (PHI_RETRAIN_COOLDOWN_MINUTES)"
    )


def _too_dear(situation: Situation) -> str:
    money = situation.money()
    if money is None or money.left is None or money.left >= money.dearest_job:
        return ""
    return (
        f"{money.left:.2f} dollars are left of the month's budget (PHI_AZURE_MONTHLY_BUDGET) "
        f"and the job may cost {money.dearest_job:.2f}"
    )
