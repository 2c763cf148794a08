"""The champion changed by hand: a version promoted, or the present one withdrawn for the former. On any registry."""

from collections.abc import Mapping
from typing import Protocol

from phi_assets.errors import BackendError, ChampionChanged
from phi_assets.models import champions
from phi_assets.models.champions import Version
from phi_assets.records import Evaluation, RegisteredModel


class CannotPromote(BackendError):
    """The version that was asked for cannot become champion."""


class Tagged(Protocol):
    """What is needed of a registry."""

    def versions(self) -> list[Version]: ...

    def tag(self, number: str, tags: Mapping[str, str]) -> None: ...

    def has_weights(self, model: RegisteredModel) -> bool: ...


def promote(registry: Tagged, number: str, reason: str, run: str) -> RegisteredModel:
    """The version is champion and no longer withdrawn; who was champion is withdrawn. Twice is as good as once."""
    versions = registry.versions()
    chosen = next((each for each in versions if each.number == number), None)
    if chosen is None:
        named = ", ".join(each.number for each in reversed(versions)) or "none yet"
        raise CannotPromote(f"there is no version {number!r}; there are: {named}", allow_retries=False)
    _require_weights(registry, chosen, versions)
    if chosen.state == "champion":
        return chosen.model
    # The new one first: were the old one withdrawn before, a third would be champion for a moment.
    registry.tag(number, champions.promotion_tags(versions, f"promoted by hand: {reason or 'no reason given'}"))
    displaced = _champion(versions)
    if displaced:
        said = f"replaced by hand by version {number}: {reason or 'no reason given'}"
        registry.tag(displaced.number, champions.withdrawal_tags(said, run))
    return chosen.model


def rollback(registry: Tagged, reason: str, run: str) -> RegisteredModel:
    """The former champion is champion, the present one withdrawn. The same run twice goes back once."""
    versions = registry.versions()
    stack = champions.champions(versions)
    if any(each.withdrawn_by == run for each in versions) and stack:
        return stack[-1].model
    if len(stack) < 2:
        withdrawn = [each.number for each in reversed(versions) if each.withdrawn]
        cure = f"take one back with `phi promote`: {', '.join(withdrawn)}" if withdrawn else "make one with `phi run`"
        raise CannotPromote(f"there is no former champion to go back to; {cure}", allow_retries=False)
    former, present = stack[-2], stack[-1]
    _require_weights(registry, former, versions)
    registry.tag(present.number, champions.withdrawal_tags(reason or "rolled back, no reason given", run))
    registry.tag(former.number, champions.return_tags(f"came back when version {present.number} was withdrawn"))
    return former.model


def champion_changed(evaluation: Evaluation, champion: str | None) -> ChampionChanged:
    """The refusal of an evaluation that compared with another than this champion, name/version."""
    return ChampionChanged(f"{champions.changed_since(evaluation, champion)}; materialise model_evaluation again")


def in_its_place(versions: list[Version], digest: str, champion: RegisteredModel | None) -> RegisteredModel:
    """The champion, as this withdrawn model is not registered again. Raises CannotPromote when there is none."""
    if champion is None:
        out = champions.withdrawn(versions, digest)
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
    raise CannotPromote(
        f"version {chosen.number} cannot be served, its weights are gone from {chosen.model.address}; {others}",
        allow_retries=False,
    )
