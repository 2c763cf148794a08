"""What is a new cause, what belongs to a known one, and what closes one.

| cause | belongs to it | closed by |
|---|---|---|
| failed checks of an asset's version | step and run that they fail; later refusals of the version | the check passes |
| a failed step with its error | the run's failure; the same error in later runs | the step succeeds |
| a run that failed without a step | its automatic retries that fail in the same way | nothing |

A run that a person cancelled is no cause, but what its checks found counts.
"""

from phi_assets.notifications import messages
from phi_assets.notifications.event_log import CheckEvaluation, Ending, Step
from phi_assets.notifications.outbox import Cause, Page


def judge(ending: Ending, page: Page) -> None:
    """Open, keep and close causes by what a run came to, with one notification for each new one."""
    _judge_checks(ending, page)
    for step in ending.steps:
        if step.error is None:
            page.close("step", step.name)
        elif not ending.canceled:
            _judge_step(ending, step, page)
    if ending.error and not ending.canceled:
        cause = Cause("run", ending.first_run, ending.error.fingerprint)
        if not page.is_open(cause):
            page.tell([cause], ending.storage_id, messages.of_run(ending, ending.error).to_json())


def _judge_checks(ending: Ending, page: Page) -> None:
    versions: dict[tuple[str, str], list[CheckEvaluation]] = {}
    for verdict in ending.verdicts:
        if verdict.passed:
            page.close("check", verdict.asset, verdict.check)
        else:
            # A check that names no version is a cause by itself.
            versions.setdefault((verdict.asset, verdict.subject or f"check:{verdict.check}"), []).append(verdict)
    for (asset, _), failed in versions.items():
        causes = [Cause("check", asset, each.check, each.subject) for each in failed]
        if not all(page.is_open(cause) for cause in causes):
            page.tell(causes, ending.storage_id, messages.of_checks(ending, failed).to_json())


def _judge_step(ending: Ending, step: Step, page: Page) -> None:
    error = step.error
    if error is None or error.of_checks or (error.refused and page.failed_version(*error.refused)):
        return
    cause = Cause("step", step.name, error.fingerprint)
    if not page.is_open(cause):
        page.tell([cause], ending.storage_id, messages.of_step(ending, step.name, error).to_json())
