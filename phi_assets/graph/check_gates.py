"""Blocking checks across runs: an asset fails unless each blocking check passed on the exact version that it reads.

Dagster's own `blocking=True` applies within one run only. Here every check result carries the digest of the version
that it judged, and the downstream asset finds that result in Dagster's event log, whatever launched the run:
`make run`, `dg launch` or the UI.
"""

import time
from collections.abc import Callable, Iterable, Mapping

import dagster as dg

from phi_assets import markdown
from phi_assets.graph.dagster_internals import check_history, runs
from phi_assets.outcome import CheckOutcome

SUBJECT = "subject"
ASSET = "asset"
DATA_VERSION = "dagster/data_version"
VERDICTS = 100  # maximum number of results that are searched for a version that is not the newest
WAIT_SECONDS = 600.0
GOING_ON = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED]

BLOCKING: dict[str, tuple[str, ...]] = {}
"""The blocking checks of each asset, from `blocking`. Every asset directly downstream requires their verdicts."""

CHECKED_IN: dict[str, set[str]] = {}
"""The modules that declare an asset's blocking checks: their code decides what may follow."""


class NotPassed(dg.Failure):
    """A blocking check failed, or is missing, on the input of an asset."""


def blocking(module: str, asset: str, checks: Mapping[str, str]) -> list[dg.AssetCheckSpec]:
    """Declare blocking checks of an asset: name and description of each. `module` is the caller's `__name__`."""
    BLOCKING[asset] = tuple(dict.fromkeys((*BLOCKING.get(asset, ()), *checks)))
    CHECKED_IN.setdefault(asset, set()).add(module)
    return [dg.AssetCheckSpec(name, asset=asset, blocking=True, description=text) for name, text in checks.items()]


def check_result(name: str, asset: str, subject: str, outcome: CheckOutcome) -> dg.AssetCheckResult:
    """Return a check's result for Dagster, with the digest `subject` of the asset's version that it judged."""
    numbers = {key: value for key, value in outcome.numbers.items() if value is not None}
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=outcome.passed,
        description=markdown.text(outcome.description),
        metadata={SUBJECT: subject, **numbers},
    )


def missing_verdicts(instance: dg.DagsterInstance, asset: str, subject: str) -> list[str]:
    """Return the blocking checks without a verdict on the asset's version `subject`."""
    return missing_and_failed(instance, asset, subject)[0]


def failed_checks(instance: dg.DagsterInstance, asset: str, subject: str) -> list[str]:
    """Return a line for each blocking check that failed on the asset's version `subject`."""
    return missing_and_failed(instance, asset, subject)[1]


def missing_and_failed(instance: dg.DagsterInstance, asset: str, subject: str) -> tuple[list[str], list[str]]:
    """Return what `missing_verdicts` and `failed_checks` do, from one reading of the event log."""
    judged = [(name, latest_verdict(instance, asset, name, subject)) for name in BLOCKING.get(asset, ())]
    failed = [(name, found.description) for name, found in judged if found and not found.passed]
    return (
        [name for name, found in judged if found is None],
        [f"{asset}: check {name} failed: {description}" for name, description in failed],
    )


def latest_verdict(instance: dg.DagsterInstance, asset: str, check: str, subject: str) -> CheckOutcome | None:
    """Return a check's last verdict on the version; None when there is none among the last `VERDICTS`."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    for limit in (1, VERDICTS):  # nearly always the last one is it
        for data in check_history(instance, key, limit):
            judged = data.metadata.get(SUBJECT)
            if judged and judged.value == subject:
                return CheckOutcome(data.passed, markdown.plain(data.description or ""))
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
    """Wait until every blocking check judged the version, or the run that would judge it ended, or until the timeout.

    Another run than `run` may have published the version a moment ago, and may still be checking it.
    """
    deadline = time.monotonic() + seconds
    logged = False
    while (
        time.monotonic() < deadline
        and missing_verdicts(instance, asset, subject)
        and _is_being_made(instance, asset, run)
    ):
        if not logged:
            log(f"waiting for the checks of {asset} {subject[:12]} in another run")
            logged = True
        time.sleep(1)


def _is_being_made(instance: dg.DagsterInstance, asset: str, but_by: str) -> bool:
    others = [run for run in runs(instance, dg.RunsFilter(statuses=GOING_ON)) if run.run_id != but_by]
    return any(run.asset_selection and dg.AssetKey(asset) in run.asset_selection for run in others)


def require_passed(instance: dg.DagsterInstance, asset: str, subject: str) -> None:
    """Raise NotPassed, with each check that is missing or failed on the asset's version `subject`.

    Raises LookupError when no blocking check of the asset is loaded: without them nothing would be refused.
    """
    if asset not in BLOCKING:
        raise LookupError(f"no blocking check of {asset} is loaded: import the module that declares them")
    missing, failed = missing_and_failed(instance, asset, subject)
    unjudged = [
        f"{asset}: check {name} has not judged version {subject[:12]}; materialise {asset} again" for name in missing
    ]
    reasons = unjudged + failed
    if reasons:
        raise NotPassed(
            description="refused: " + "; ".join(reasons),
            metadata={ASSET: asset, SUBJECT: subject} if subject else None,
            allow_retries=False,
        )


def require_deps_passed(instance: dg.DagsterInstance, names: Iterable[str]) -> None:
    """As `require_passed`, for the newest version of upstream assets that are not loaded as an input."""
    for name in names:
        if name in BLOCKING:
            event = instance.get_latest_materialization_event(dg.AssetKey(name))
            made = event.asset_materialization if event else None
            require_passed(instance, name, (made.tags or {}).get(DATA_VERSION, "") if made else "")
