"""A blocking check binds across runs: an asset behind one refuses without a passed verdict on its exact input.

Dagster's own `blocking=True` holds inside one run only. Here every check result carries the digest that it judged, and
the asset behind it looks for that verdict in Dagster's event log, whoever launched it: `make run`, `dg launch`, the UI.
"""

import time
from collections.abc import Callable, Iterable

import dagster as dg

from phi_assets.graph.dagster_internals import check_history
from phi_assets.outcome import CheckOutcome

SUBJECT = "subject"
ASSET = "asset"
DATA_VERSION = "dagster/data_version"
VERDICTS = 100  # how far is looked back for a verdict on a version that is not the newest
WAIT_SECONDS = 600.0
GOING_ON = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED]

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

# What these judge changes by itself: they are made and judged again before any asset right behind them.
LIVE = ("gpu_quota",)


class NotPassed(dg.Failure):
    """The input of an asset has no passed verdict of a blocking check."""


def check_result(name: str, asset: str, subject: str, outcome: CheckOutcome) -> dg.AssetCheckResult:
    """The result of one check for Dagster, with the digest `subject` of the asset's version that it judged."""
    numbers = {key: value for key, value in outcome.numbers.items() if value is not None}
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=outcome.passed,
        description=outcome.description,
        metadata={SUBJECT: subject, **numbers},
    )


def missing_verdicts(instance: dg.DagsterInstance, asset: str, subject: str) -> list[str]:
    """The blocking checks that have not judged the asset's version `subject`."""
    return [name for name in BLOCKING.get(asset, ()) if latest_verdict(instance, asset, name, subject) is None]


def failed_checks(instance: dg.DagsterInstance, asset: str, subject: str) -> list[str]:
    """A line for each blocking check that judged the asset's version `subject` and found against it."""
    judged = [(name, latest_verdict(instance, asset, name, subject)) for name in BLOCKING.get(asset, ())]
    return [
        f"{asset}: check {name} failed: {found.description}" for name, found in judged if found and not found.passed
    ]


def latest_verdict(instance: dg.DagsterInstance, asset: str, check: str, subject: str) -> CheckOutcome | None:
    """The last that a check said of the version; None when it did not judge it, or that is too many verdicts ago."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    for limit in (1, VERDICTS):  # nearly always it is the last
        for data in check_history(instance, key, limit):
            judged = data.metadata.get(SUBJECT)
            if judged and judged.value == subject:
                return CheckOutcome(data.passed, data.description or "")
    return None


def wait_for_verdicts(
    instance: dg.DagsterInstance,
    asset: str,
    subject: str,
    log: Callable[[str], None],
    *,
    run: str,
    seconds: float = WAIT_SECONDS,
) -> None:
    """Every blocking check has judged the version, or the run that would make it so has ended, or time is up.

    A version that was published a moment ago, by another run than this `run`, is still being checked by that one.
    """
    deadline = time.monotonic() + seconds
    told = False
    while (
        time.monotonic() < deadline
        and missing_verdicts(instance, asset, subject)
        and _is_being_made(instance, asset, run)
    ):
        if not told:
            log(f"waiting for the checks of {asset} {subject[:12]}, which another run has just made")
            told = True
        time.sleep(1)


def _is_being_made(instance: dg.DagsterInstance, asset: str, but_by: str) -> bool:
    others = [run for run in instance.get_runs(filters=dg.RunsFilter(statuses=GOING_ON)) if run.run_id != but_by]
    return any(run.asset_selection and dg.AssetKey(asset) in run.asset_selection for run in others)


def require_passed(instance: dg.DagsterInstance, asset: str, subject: str) -> None:
    """Raises NotPassed, naming each verdict that is missing or against the asset's version `subject`."""
    missing = [
        f"{asset}: check {name} has not judged version {subject[:12]}; materialise {asset} again"
        for name in missing_verdicts(instance, asset, subject)
    ]
    reasons = missing + failed_checks(instance, asset, subject)
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
