"""Decides which failures open an incident, which belong to an open one, and what closes one.

| incident | also covers | closed by |
|---|---|---|
| failed checks of an asset's version | the step and run that they fail; later refusals of the version | a pass |
| a failed step with its error | the run's failure; the same error in later runs | a success |
| a run that failed without a step | its automatic retries that fail with the same error | nothing |

A cancelled run opens no incident for itself or its steps, but its check results count.
"""

from phi_assets.notifications import messages
from phi_assets.notifications.event_log import CheckEvaluation, Ending, Step
from phi_assets.notifications.outbox import Incident, Transaction


def judge(ending: Ending, transaction: Transaction) -> None:
    """Open and close incidents for the outcome of a run, and store one notification for each new incident."""
    _judge_checks(ending, transaction)
    for step in ending.steps:
        if step.error is None:
            transaction.close("step", step.name)
        elif not ending.canceled:
            _judge_step(ending, step, transaction)
    if ending.error and not ending.canceled:
        incident = Incident("run", ending.first_run, ending.error.fingerprint)
        if not transaction.is_open(incident):
            transaction.add([incident], ending.storage_id, messages.of_run(ending, ending.error).to_json())


def _judge_checks(ending: Ending, transaction: Transaction) -> None:
    versions: dict[tuple[str, str], list[CheckEvaluation]] = {}
    for verdict in ending.verdicts:
        if verdict.passed:
            transaction.close("check", verdict.asset, verdict.check)
        else:
            # A failed check that names no version is an incident of its own.
            versions.setdefault((verdict.asset, verdict.subject or f"check:{verdict.check}"), []).append(verdict)
    for (asset, _), failed in versions.items():
        incidents = [Incident("check", asset, each.check, each.subject) for each in failed]
        if not all(transaction.is_open(incident) for incident in incidents):
            transaction.add(incidents, ending.storage_id, messages.of_checks(ending, failed).to_json())


def _judge_step(ending: Ending, step: Step, transaction: Transaction) -> None:
    error = step.error
    if error is None or error.of_checks or (error.refused and transaction.failed_version(*error.refused)):
        return
    incident = Incident("step", step.name, error.fingerprint)
    if not transaction.is_open(incident):
        transaction.add([incident], ending.storage_id, messages.of_step(ending, step.name, error).to_json())
