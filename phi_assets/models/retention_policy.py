"""The retention policy: which of the stored things a clean removes, and why. A pure function."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from phi_assets.settings import Settings

Kind = Literal[
    "weights",
    "model",
    "checkpoints",
    "dataset",
    "replay set",
    "evaluation",
    "flow",
    "flow evaluation",
    "agent evaluation",
    "deployment",
    "quantised model",
    "tracked training",
    "job folder",
    "leftover",
]
_OTHERS: tuple[Kind, ...] = (
    "dataset", "replay set", "evaluation", "flow", "flow evaluation", "agent evaluation", "deployment",
    "quantised model", "tracked training", "job folder",
)  # fmt: skip
DAY = 86_400.0
JOB_DAYS = 1.0  # a job that no run watches any more may still write into its folder
LEFTOVER_DAYS = 1 / 24  # a child process of a killed run may still write for a moment
DIGITS = 16  # of a digest, by which things are compared: folders have no more in their name


@dataclass(frozen=True)
class Stored:
    """Something that a clean may remove: its places in the order of removal, its size, and when it was last written.

    `refers_to` are digests of what it was made from. `digest` is empty for what has none.
    """

    kind: Kind
    name: str
    digest: str
    places: tuple[str, ...]
    bytes: int
    at: float = field(metadata={"doc": "seconds since 1970"})
    refers_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class Needed:
    """Digests that are kept whatever their age, each with the reason.

    `weights` of a model are needed to serve or to compare; `explained` is what `phi why` or an asset's page names.
    """

    weights: Mapping[str, str]
    explained: Mapping[str, str]


@dataclass(frozen=True)
class Rules:
    """The settings `PHI_KEEP_MODELS`, `PHI_KEEP_DAYS` and `PHI_KEEP_QUIET_DAYS`."""

    models: int
    days: float
    quiet_days: float

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        return cls(settings.keep_models, settings.keep_days, settings.keep_quiet_days)


@dataclass(frozen=True)
class Verdict:
    """Whether a stored thing is removed, and why or why not."""

    stored: Stored
    remove: bool
    reason: str


def decide(stored: Iterable[Stored], needed: Needed, rules: Rules, now: float) -> list[Verdict]:
    """Return a verdict on each stored thing.

    Weights are kept by number, because they are large; everything else by age. What a kept model was made from is
    kept with it: its dataset, its replay set, its evaluation, its tracked training.
    """
    found = sorted(stored, key=lambda each: each.at, reverse=True)
    weights = _weights([each for each in found if each.kind == "weights"], needed, rules)
    held = {short(digest): reason for digest, reason in {**needed.explained, **needed.weights}.items()}
    held |= {short(each.stored.digest): each.reason for each in weights if not each.remove}
    models = _by_age([each for each in found if each.kind == "model"], held, rules, now)
    for verdict in (*weights, *models):
        if not verdict.remove:
            why = f"model {short(verdict.stored.digest)[:12]} was made from it"
            held |= {short(digest): why for digest in verdict.stored.refers_to if short(digest) not in held}
    kept_models = {short(each.stored.digest) for each in models if not each.remove}
    rest: list[Verdict] = []
    for kind in _OTHERS:
        of_kind = [each for each in found if each.kind == kind]
        about = {short(each.digest): "of a kept model" for each in of_kind if _is_of(each, kept_models)}
        rest += _by_age(of_kind, about | held, rules, now)
    return [
        *weights,
        *models,
        *_checkpoints([each for each in found if each.kind == "checkpoints"], rules, now),
        *rest,
        *(_leftover(each, now) for each in found if each.kind == "leftover"),
    ]


def short(digest: str) -> str:
    return digest[:DIGITS]


def _is_of(stored: Stored, models: set[str]) -> bool:
    """Return whether this is an evaluation or a tracked training of one of the models."""
    return stored.kind in ("evaluation", "tracked training") and any(short(each) in models for each in stored.refers_to)


def _weights(newest_first: Sequence[Stored], needed: Needed, rules: Rules) -> list[Verdict]:
    reasons = {short(digest): reason for digest, reason in needed.weights.items()}
    verdicts = []
    for place, each in enumerate(newest_first):
        if reason := reasons.get(short(each.digest)):
            verdicts.append(Verdict(each, False, reason))
        elif place < rules.models:
            verdicts.append(Verdict(each, False, f"one of the {rules.models} newest (PHI_KEEP_MODELS)"))
        else:
            verdicts.append(Verdict(each, True, f"neither serves nor is one of the {rules.models} newest models"))
    return verdicts


def _by_age(newest_first: Sequence[Stored], held: Mapping[str, str], rules: Rules, now: float) -> list[Verdict]:
    verdicts = []
    for place, each in enumerate(newest_first):
        days = max(rules.days, JOB_DAYS) if each.kind == "job folder" else rules.days
        if reason := held.get(short(each.digest)):
            verdicts.append(Verdict(each, False, reason))
        elif place == 0 and each.kind != "job folder":
            verdicts.append(Verdict(each, False, "the newest of its kind"))
        elif now - each.at <= days * DAY:
            verdicts.append(Verdict(each, False, f"newer than {days:g} days (PHI_KEEP_DAYS)"))
        else:
            verdicts.append(Verdict(each, True, f"older than {days:g} days, and nothing that is kept names it"))
    return verdicts


def _checkpoints(newest_first: Sequence[Stored], rules: Rules, now: float) -> list[Verdict]:
    verdicts = []
    for place, each in enumerate(newest_first):
        if place == 0 and now - each.at <= max(rules.days, LEFTOVER_DAYS) * DAY:
            verdicts.append(Verdict(each, False, "the last interrupted training resumes from it"))
        else:
            verdicts.append(Verdict(each, True, "of a training that was interrupted and not resumed"))
    return verdicts


def _leftover(each: Stored, now: float) -> Verdict:
    old = now - each.at > LEFTOVER_DAYS * DAY
    return Verdict(each, old, "left behind by a process that was killed" if old else "may still be written")
