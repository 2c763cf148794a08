"""The champion, determined from the tags of a registry's versions: one rule for every backend.

The versions that were not withdrawn, by rank, are the stack of champions. The last is the champion; the one before it
is the champion after a rollback. So a single write changes the champion, and there are never two.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Protocol

from phi_assets.errors import BackendError, ChampionChanged
from phi_assets.records import Evaluation, RegisteredModel

RANK = "rank"  # absent from versions of earlier releases, whose rank is their number
PROMOTED, PROMOTED_AT, PROMOTED_WHO = "promoted", "promoted_at", "promoted_who"
WITHDRAWN, WITHDRAWN_AT, WITHDRAWN_BY = "withdrawn", "withdrawn_at", "withdrawn_by"
WITHDRAWN_WHO = "withdrawn_who"
CLEANED = "cleaned"  # when a clean removed the weights
RETIRED = "retired"  # "true": withdrawn in Studio or by `az ml`, without a reason
EVALUATION, BITS, RIGHT = "evaluation", "bits_per_byte", "questions_right"
PASSED = "passed the gate"
LONGEST = 200  # maximum characters of a reason; Azure allows 256 in a tag's value

State = Literal["champion", "former", "withdrawn"]


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version: its state, how and when it got there, and its scores.

    Unknown texts are empty. `withdrawn` is the reason, `withdrawn_by` the Dagster run, `cleaned` when a clean
    removed its weights; `promoted_who` and `withdrawn_who` are the person or principal whose run it was.
    """

    model: RegisteredModel
    state: State
    rank: int
    promoted: str
    promoted_at: str
    withdrawn: str
    withdrawn_at: str
    withdrawn_by: str
    evaluation: str
    bits_per_byte: float | None
    questions_right: str
    cleaned: str = ""
    promoted_who: str = ""
    withdrawn_who: str = ""

    @property
    def number(self) -> str:
        return self.model.version


def version_of(model: RegisteredModel, tags: Mapping[str, str], created: str) -> Version:
    """Return a version from its tags; `created` is when it was registered."""
    retired = "taken out by hand" if tags.get(RETIRED, "").lower() == "true" else ""
    withdrawn = tags.get(WITHDRAWN, "") or retired
    return Version(
        model=model,
        state="withdrawn" if withdrawn else "former",
        rank=int(tags.get(RANK) or model.version),
        promoted=tags.get(PROMOTED) or PASSED,
        promoted_at=tags.get(PROMOTED_AT) or created,
        withdrawn=withdrawn,
        withdrawn_at=tags.get(WITHDRAWN_AT, "") if withdrawn else "",
        withdrawn_by=tags.get(WITHDRAWN_BY, "") if withdrawn else "",
        evaluation=tags.get(EVALUATION, ""),
        bits_per_byte=float(tags[BITS]) if tags.get(BITS) else None,
        questions_right=tags.get(RIGHT, ""),
        cleaned=tags.get(CLEANED, ""),
        promoted_who=tags.get(PROMOTED_WHO, ""),
        withdrawn_who=tags.get(WITHDRAWN_WHO, "") if withdrawn else "",
    )


def ordered(versions: Iterable[Version]) -> list[Version]:
    """Return the versions, the highest number first, with the champion marked."""
    found = list(versions)
    stack = champions(found)
    marked = [replace(each, state="champion") if stack and each == stack[-1] else each for each in found]
    return sorted(marked, key=lambda each: int(each.number), reverse=True)


def champions(versions: Iterable[Version]) -> list[Version]:
    """Return the stack of champions: the current one last."""
    standing = [each for each in versions if not each.withdrawn]
    return sorted(standing, key=lambda each: (each.rank, int(each.number)))


def withdrawn(versions: Iterable[Version], digest: str) -> Version | None:
    """Return the withdrawn version of this model; None without one."""
    return next((each for each in versions if each.withdrawn and each.model.model_digest == digest), None)


def changed_since(evaluation: Evaluation, champion: str | None) -> str:
    """Return a message with the champion and the one that the evaluation compared with, as name/version."""
    return f"the champion is {champion or 'none'}, the evaluation compared with {evaluation.champion or 'none'}"


def overtaken(evaluation: Evaluation, champion: RegisteredModel | None, versions: Iterable[Version]) -> str:
    """Return why this evaluation cannot register a model that passed; empty when it can, or need not."""
    known = any(each.model.model_digest == evaluation.model_digest for each in versions)
    present = name_of(champion)
    return "" if known or present == evaluation.champion else changed_since(evaluation, present)


def name_of(model: RegisteredModel | None) -> str | None:
    """Return name/number of a version, as evaluations record the champion."""
    return f"{model.name}/{model.version}" if model else None


def promotion_tags(versions: Iterable[Version], how: str, who: str) -> dict[str, str]:
    """Return the tags that put a version on top of the stack and remove its withdrawal."""
    rank = max((max(each.rank, int(each.number)) for each in versions), default=0) + 1
    cleared = {CLEANED: "", WITHDRAWN: "", WITHDRAWN_AT: "", WITHDRAWN_BY: "", WITHDRAWN_WHO: "", RETIRED: ""}
    return {RANK: str(rank), **return_tags(how, who), **cleared}


def set_only(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that have a value, for the creation of a version."""
    return {name: value for name, value in tags.items() if value}


def return_tags(how: str, who: str) -> dict[str, str]:
    """Return the tags that record how, when and by whom a version became champion."""
    return {PROMOTED: how[:LONGEST], PROMOTED_AT: _now(), PROMOTED_WHO: who[:LONGEST]}


def cleaned_tags() -> dict[str, str]:
    """Return the tags that record when a clean removed the weights."""
    return {CLEANED: _now()}


def withdrawal_tags(reason: str, run: str, who: str) -> dict[str, str]:
    """Return the tags that remove a version from the stack."""
    return {WITHDRAWN: reason[:LONGEST], WITHDRAWN_AT: _now(), WITHDRAWN_BY: run, WITHDRAWN_WHO: who[:LONGEST]}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class CannotPromote(BackendError):
    """The requested version cannot become champion."""


class Tagged(Protocol):
    """The methods of a registry that this module uses."""

    def versions(self) -> list[Version]: ...

    def tag(self, number: str, tags: Mapping[str, str]) -> None: ...

    def has_weights(self, model: RegisteredModel) -> bool: ...

    def who(self) -> str: ...


def promote(registry: Tagged, number: str, reason: str, run: str) -> RegisteredModel:
    """Make the version champion and withdraw the current one. Idempotent. Raises CannotPromote."""
    versions = registry.versions()
    chosen = next((each for each in versions if each.number == number), None)
    if chosen is None:
        named = ", ".join(each.number for each in reversed(versions)) or "none yet"
        raise CannotPromote(f"there is no version {number!r}; there are: {named}", allow_retries=False)
    _require_weights(registry, chosen, versions)
    if chosen.state == "champion":
        return chosen.model
    who = registry.who()
    # Tag the new champion first: withdrawing the old one first would make a third version champion for a moment.
    registry.tag(number, promotion_tags(versions, f"promoted by hand: {reason or 'no reason given'}", who))
    displaced = _champion(versions)
    if displaced:
        said = f"replaced by hand by version {number}: {reason or 'no reason given'}"
        registry.tag(displaced.number, withdrawal_tags(said, run, who))
    return chosen.model


def rollback(registry: Tagged, reason: str, run: str) -> RegisteredModel:
    """Withdraw the champion and reinstate the former one. Idempotent within a run. Raises CannotPromote."""
    versions = registry.versions()
    stack = champions(versions)
    if any(each.withdrawn_by == run for each in versions) and stack:
        return stack[-1].model
    if len(stack) < 2:
        withdrawn = [each.number for each in reversed(versions) if each.withdrawn]
        remedy = f"take one back with `phi promote`: {', '.join(withdrawn)}" if withdrawn else "make one with `phi run`"
        raise CannotPromote(f"there is no former champion to go back to; {remedy}", allow_retries=False)
    former, present = stack[-2], stack[-1]
    _require_weights(registry, former, versions)
    who = registry.who()
    registry.tag(present.number, withdrawal_tags(reason or "rolled back, no reason given", run, who))
    registry.tag(former.number, return_tags(f"came back when version {present.number} was withdrawn", who))
    return former.model


def champion_changed(evaluation: Evaluation, champion: str | None) -> ChampionChanged:
    """Return the error for an evaluation that compared with another champion than this one (name/version)."""
    return ChampionChanged(f"{changed_since(evaluation, champion)}; materialise model_evaluation again")


def in_its_place(versions: list[Version], digest: str, champion: RegisteredModel | None) -> RegisteredModel:
    """Return the champion instead of registering a withdrawn model again. Raises CannotPromote without one."""
    if champion is None:
        out = withdrawn(versions, digest)
        said = f"this model is version {out.number}, which was withdrawn ({out.withdrawn})" if out else "withdrawn"
        raise CannotPromote(
            f"{said}, and no champion can be served; take one back with `phi promote <version>`", allow_retries=False
        )
    return champion


def _champion(versions: list[Version]) -> Version | None:
    return next((each for each in versions if each.state == "champion"), None)


def _require_weights(registry: Tagged, chosen: Version, versions: list[Version]) -> None:
    if registry.has_weights(chosen.model):
        return
    whole = [each.number for each in versions if each is not chosen and registry.has_weights(each.model)]
    others = f"`phi promote` one that has them: {', '.join(whole)}" if whole else "`phi run` trains a model again"
    if chosen.cleaned:
        raise CannotPromote(
            f"version {chosen.number} cannot be served, its weights were cleaned on {chosen.cleaned[:10]} to free the "
            f"disk (PHI_KEEP_MODELS); start job `retrain` with dataset {chosen.model.dataset_digest} to train it "
            f"again, or {others}",
            allow_retries=False,
        )
    raise CannotPromote(
        f"version {chosen.number} cannot be served, its weights are gone from {chosen.model.address}; {others}",
        allow_retries=False,
    )
