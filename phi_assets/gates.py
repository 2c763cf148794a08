"""A blocking check binds across runs: an asset behind one refuses without a passed verdict on its exact input.

Dagster's own `blocking=True` holds inside one run only. Here every check result carries the digest that it judged, and
the asset behind it looks for that verdict in Dagster's event log, whoever launched it: `make run`, `dg launch`, the UI.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

SUBJECT = "subject"
ASSET = "asset"
DATA_VERSION = "dagster/data_version"

# The blocking checks of each asset. Every asset right behind one of these asks for their verdicts before it works.
BLOCKING: dict[str, tuple[str, ...]] = {
    "gpu_quota": ("enough_quota", "cost_within_ceiling"),
    "chat_dataset": (
        "schema",
        "no_leakage_between_splits",
        "no_exact_duplicates",
        "minimum_rows",
        "few_broken_rows",
        "fits_context",
    ),
    "model_evaluation": (
        "better_than_base",
        "not_worse_than_champion",
        "answers_questions",
        "keeps_general_answers",
        "enough_evidence",
    ),
    "chat_flow_evaluation": ("answers_right",),
}


class NotPassed(dg.Failure):
    """The input of an asset has no passed verdict of a blocking check."""


def verdict(
    name: str, asset: str, *, subject: str, passed: bool, description: str, numbers: Mapping[str, Any]
) -> dg.AssetCheckResult:
    """The result of one check, with the digest of what it judged."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=passed,
        description=description,
        metadata={SUBJECT: subject, **{key: value for key, value in numbers.items() if value is not None}},
    )


def unjudged(instance: dg.DagsterInstance, asset: str, subject: str) -> list[str]:
    """The blocking checks that have not judged the asset's version `subject`."""
    latest = {name: latest_verdict(instance, asset, name) for name in BLOCKING.get(asset, ())}
    return [name for name, found in latest.items() if found is None or found.subject != subject]


def failed(instance: dg.DagsterInstance, asset: str, subject: str) -> list[str]:
    """A line for each blocking check that judged the asset's version `subject` and found against it."""
    latest = [(name, latest_verdict(instance, asset, name)) for name in BLOCKING.get(asset, ())]
    return [
        f"{asset}: check {name} failed: {found.description}"
        for name, found in latest
        if found and found.subject == subject and not found.passed
    ]


@dataclass(frozen=True)
class Found:
    """What a check said last, and of which version."""

    subject: str
    passed: bool
    description: str


def latest_verdict(instance: dg.DagsterInstance, asset: str, check: str) -> Found | None:
    """The last evaluation of a check; None when it never ran to its end."""
    record = instance.get_latest_asset_check_evaluation_record(dg.AssetCheckKey(dg.AssetKey(asset), check))
    event = record.event.dagster_event if record and record.event else None
    if event is None or event.event_type_value != "ASSET_CHECK_EVALUATION":
        return None
    data: Any = event.event_specific_data
    subject = data.metadata.get(SUBJECT)
    return Found(str(subject.value) if subject else "", data.passed, data.description or "")


def require_passed(instance: dg.DagsterInstance, asset: str, subject: str) -> None:
    """Raises NotPassed, naming each verdict that is missing or against the asset's version `subject`."""
    missing = [
        f"{asset}: check {name} has not judged version {subject[:12]}; materialise {asset} again"
        for name in unjudged(instance, asset, subject)
    ]
    reasons = missing + failed(instance, asset, subject)
    if reasons:
        raise NotPassed(
            description="refused: " + "; ".join(reasons),
            metadata={ASSET: asset, SUBJECT: subject} if subject else None,
            allow_retries=False,
        )


def require_deps_passed(instance: dg.DagsterInstance, names: Iterable[str]) -> None:
    """As `require_passed`, for the newest version of what an asset stands on without reading it."""
    for name in names:
        if name in BLOCKING:
            event = instance.get_latest_materialization_event(dg.AssetKey(name))
            made = event.asset_materialization if event else None
            require_passed(instance, name, (made.tags or {}).get(DATA_VERSION, "") if made else "")
