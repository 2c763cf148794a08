"""How a run changes the champion: by the promotion checks, or as its config says."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from phi_assets.graph import check_gates, metadata_values
from phi_assets.models.champions import BITS, EVALUATION, RIGHT, CannotPromote, Version, withdrawn
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.records import Evaluation, ModelVersion, RegisteredModel


class Promotion(dg.Config):
    """Which version becomes champion."""

    action: Literal["gate", "promote", "rollback"] = Field(
        "gate",
        description="gate: the newest model if every promotion check passed; promote: `version`, by hand, or with "
        "`despite` the newest evaluated model; rollback: the former champion",
    )
    despite: list[str] = Field(
        [],
        description="with promote and no version: failed promotion checks that do not count for the newest evaluated "
        "model; a reason is required",
    )
    version: str = Field("", description="with promote: the number of the version, as `phi models` lists it")
    reason: str = Field(
        "", description="with promote and rollback: the reason, which is stored with the withdrawn version"
    )


def override(promotion: Promotion, catalog: AssetCatalog, evaluation: Evaluation, run: str) -> str:
    """Let the failed checks that the config names pass on this evaluation, and return what is recorded of it.

    Raises CannotPromote, and NotPassed for a check that did not fail.
    """
    if promotion.action != "promote":
        raise CannotPromote("`despite` goes with action `promote` only", allow_retries=False)
    if promotion.version or not promotion.reason.strip():
        wrong = "both a version and `despite` are given" if promotion.version else "`despite` needs a reason"
        raise CannotPromote(
            f"{wrong}. `phi promote --despite {promotion.despite[0]} --reason '...'` takes the newest evaluated model",
            allow_retries=False,
        )
    why = f"despite {', '.join(promotion.despite)}: {promotion.reason.strip()}"
    check_gates.override(catalog, "model_evaluation", evaluation.digest, promotion.despite, f"run {run[:8]}, {why}")
    return f"promoted by hand {why}"


def by_hand(promotion: Promotion, registry: ModelRegistry, run: str) -> RegisteredModel:
    """Promote or roll back as the config says, and return the champion. Raises CannotPromote."""
    if promotion.action == "promote":
        return registry.promote(promotion.version, promotion.reason, run)
    return registry.rollback(promotion.reason, run)


def tags_of(model: ModelVersion, evaluation: Evaluation, report: dict[str, Any], run: str) -> dict[str, str]:
    """Return the tags of a registered version: its origin and its scores."""
    tuned = report["models"]["tuned"]
    asked = (tuned["questions"] or {}).get("all")
    bits = tuned["bits_per_byte"]
    return {
        "code_version": model.code_version,
        "base_model": model.base_digest,
        "preset": model.preset,
        "dagster_run": run,
        EVALUATION: evaluation.digest,
        **({BITS: f"{bits:.4f}"} if bits is not None else {}),
        **({RIGHT: f"{asked['right']} of {asked['count']}"} if asked and asked["count"] else {}),
    }


def why_not(versions: list[Version], model: ModelVersion, champion: RegisteredModel) -> str:
    """Return why a model that passed the promotion checks is not registered."""
    out = withdrawn(versions, model.digest)
    said = f"version {out.number}, which was withdrawn: {out.withdrawn}" if out else "withdrawn"
    return (
        f"not registered: the model is {said}. Version {champion.version} stays champion until a newer model passes; "
        f"`phi promote {out.number if out else '<version>'}` promotes it again"
    )


def describe_change(promotion: Promotion, before: list[Version], after: list[Version]) -> dict[str, Any]:
    """Return the champion before and after, and the versions that were withdrawn."""
    already = {each.number for each in before if each.withdrawn}
    gone = [f"{each.number}: {each.withdrawn}" for each in after if each.withdrawn and each.number not in already]
    return {
        "action": promotion.action,
        "reason": metadata_values.text(promotion.reason or "none given"),
        "from_version": _champion(before),
        "to_version": _champion(after),
        "withdrawn": metadata_values.text("; ".join(gone) or "none"),
    }


def _champion(versions: list[Version]) -> str:
    return next((each.number for each in versions if each.state == "champion"), "none")
