"""Blocking checks across runs: an asset fails unless each blocking check passed on the exact version that it reads.

Dagster's own `blocking=True` applies within one run only. Here every verdict is stored in the asset catalog, with the
digests of the version that it judged and of the rules that it judged by, and the downstream asset finds it there,
whatever launched the run and on whichever machine. Dagster's event log only shows it.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable

import dagster as dg

from phi_assets import markdown
from phi_assets.graph.asset_keys import key_of
from phi_assets.graph.blocking_checks import BLOCKING, VALID_HOURS, blocking
from phi_assets.graph.code_versions import rules_of
from phi_assets.graph.dagster_internals import runs
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.catalog import AssetCatalog, Verdict
from phi_assets.settings import current

__all__ = ["BLOCKING", "blocking", "check_result"]

SUBJECT = "subject"
ASSET = "asset"
DATA_VERSION = "dagster/data_version"
WAIT_SECONDS = 600.0
GOING_ON = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED]


class NotPassed(dg.Failure):
    """A blocking check failed, or is missing, on the input of an asset."""


def check_result(
    catalog: AssetCatalog, name: str, asset: str, subject: str, outcome: CheckOutcome
) -> dg.AssetCheckResult:
    """Store a check's verdict on the asset's version `subject`, and return its result for Dagster.

    An outcome with a warning passes here, and Dagster shows a warning.
    """
    verdict = verdict_of(asset, name, subject, outcome)
    catalog.judge([verdict])
    return dg.AssetCheckResult(
        asset_key=key_of(asset),
        check_name=name,
        passed=outcome.passed and not outcome.warning,
        severity=dg.AssetCheckSeverity.WARN if outcome.passed and outcome.warning else dg.AssetCheckSeverity.ERROR,
        description=markdown.text(outcome.description),
        metadata={SUBJECT: subject, **verdict.numbers},
    )


def verdict_of(asset: str, check: str, subject: str, outcome: CheckOutcome) -> Verdict:
    """Return the outcome of a check as a verdict by the rules of now."""
    numbers = {key: value for key, value in outcome.numbers.items() if value is not None}
    rules = rules_of(asset, current())
    return Verdict(asset, subject, check, outcome.passed, outcome.description, numbers, rules, time.time())


def override(catalog: AssetCatalog, asset: str, subject: str, checks: Iterable[str], why: str) -> list[Verdict]:
    """Let failed blocking checks pass on the asset's version `subject`, and return the verdicts, with `why` in each.

    They count while the rules of the checks stay the same. Raises NotPassed for a check that did not fail.
    """
    valid, passed = valid_verdicts(catalog, asset, subject), []
    for name in dict.fromkeys(checks):
        verdict = valid.get(name)
        if verdict is None or verdict.passed:
            failed = [each for each in BLOCKING.get(asset, ()) if each in valid and not valid[each].passed]
            state = "has not judged" if verdict is None else "passed on"
            raise NotPassed(
                description=f"refused: check {name} {state} {asset} {subject[:12]}; failed checks: "
                f"{', '.join(failed) or 'none'}",
                allow_retries=False,
            )
        passed.append(
            dataclasses.replace(
                verdict,
                passed=True,
                description=f"overridden by hand ({why}). The check had failed: {verdict.description}",
                numbers={**verdict.numbers, "overridden": why},
                at=time.time(),
            )
        )
    catalog.judge(passed)
    return passed


def valid_verdicts(catalog: AssetCatalog, asset: str, subject: str) -> dict[str, Verdict]:
    """Return the verdict of each blocking check on the version, by name; only those by the rules of now."""
    checks = BLOCKING.get(asset, ())
    stored = catalog.verdicts(asset, subject) if checks else {}
    rules = rules_of(asset, current()) if stored else ""
    return {name: verdict for name, verdict in stored.items() if name in checks and verdict.rules == rules}


def missing_verdicts(catalog: AssetCatalog, asset: str, subject: str) -> list[str]:
    """Return the blocking checks without a verdict on the asset's version `subject`."""
    return missing_and_failed(catalog, asset, subject)[0]


def failed_checks(catalog: AssetCatalog, asset: str, subject: str) -> list[str]:
    """Return a line for each blocking check that failed on the asset's version `subject`."""
    return missing_and_failed(catalog, asset, subject)[1]


def missing_and_failed(catalog: AssetCatalog, asset: str, subject: str) -> tuple[list[str], list[str]]:
    """Return what `missing_verdicts` and `failed_checks` do, from one reading of the catalog."""
    checks, valid = BLOCKING.get(asset, ()), valid_verdicts(catalog, asset, subject)
    failed = [(name, valid[name]) for name in checks if name in valid and not valid[name].passed]
    return (
        [name for name in checks if name not in valid],
        [f"{asset}: check {name} failed: {verdict.description}" for name, verdict in failed],
    )


def wait_for_verdicts(
    instance: dg.DagsterInstance,
    catalog: AssetCatalog,
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
        and missing_verdicts(catalog, asset, subject)
        and _is_being_made(instance, asset, run)
    ):
        if not logged:
            log(f"waiting for the checks of {asset} {subject[:12]} in another run")
            logged = True
        time.sleep(1)


def _is_being_made(instance: dg.DagsterInstance, asset: str, but_by: str) -> bool:
    others = [run for run in runs(instance, dg.RunsFilter(statuses=GOING_ON)) if run.run_id != but_by]
    return any(run.asset_selection and key_of(asset) in run.asset_selection for run in others)


def require_passed(catalog: AssetCatalog, asset: str, subject: str) -> None:
    """Raise NotPassed, with each check that is missing, failed or too old on the asset's version `subject`.

    Raises LookupError when no blocking check of the asset is loaded: without them nothing would be refused.
    """
    if asset not in BLOCKING:
        raise LookupError(f"no blocking check of {asset} is loaded: import the module that declares them")
    missing, failed = missing_and_failed(catalog, asset, subject)
    unjudged = [
        f"{asset}: check {name} has not judged version {subject[:12]}; materialise {asset} again" for name in missing
    ]
    reasons = unjudged + failed + _too_old(catalog, asset, subject)
    if reasons:
        raise NotPassed(
            description="refused: " + "; ".join(reasons),
            metadata={ASSET: asset, SUBJECT: subject} if subject else None,
            allow_retries=False,
        )


def _too_old(catalog: AssetCatalog, asset: str, subject: str) -> list[str]:
    """Return a line for each verdict that was given too long ago, such as on a quota, which others use meanwhile."""
    hours = VALID_HOURS.get(asset)
    if hours is None:
        return []
    ages = {name: (time.time() - each.at) / 3600 for name, each in valid_verdicts(catalog, asset, subject).items()}
    return [
        f"{asset}: check {name} judged version {subject[:12]} {age:.0f} hours ago, and counts for {hours:g} hours; "
        f"materialise {asset} again"
        for name, age in ages.items()
        if age > hours
    ]


def require_deps_passed(instance: dg.DagsterInstance, catalog: AssetCatalog, names: Iterable[str]) -> None:
    """As `require_passed`, for the newest version of upstream assets that are not loaded as an input."""
    for name in names:
        if name in BLOCKING:
            require_passed(catalog, name, _newest(instance, catalog, name))


def _newest(instance: dg.DagsterInstance, catalog: AssetCatalog, name: str) -> str:
    """Return the data version of the asset's last materialisation; empty before the first."""
    stored = catalog.latest(name)
    if stored:
        return stored.data_version
    event = instance.get_latest_materialization_event(key_of(name))
    made = event.asset_materialization if event else None
    return (made.tags or {}).get(DATA_VERSION, "") if made else ""
