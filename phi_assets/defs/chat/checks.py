"""The check of the chat flow: its share of correct answers."""

import dagster as dg

from phi_assets.graph import check_gates
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.records import FlowEvaluation
from phi_assets.settings import Settings

DESCRIPTION = "The flow answers at least PHI_MIN_FLOW_SHARE_RIGHT of the evaluation questions correctly."


check_gates.blocking(__name__, "chat_flow_evaluation", {"answers_right": DESCRIPTION}, ("min_flow_share_right",))


@dg.asset_check(asset="chat_flow_evaluation", blocking=True, description=DESCRIPTION)
def answers_right(
    chat_flow_evaluation: FlowEvaluation, settings: dg.ResourceParam[Settings], catalog: AssetCatalog
) -> dg.AssetCheckResult:
    """Passes, with a description that says so, when there are no evaluation questions."""
    share, minimum = chat_flow_evaluation.share_right, settings.min_flow_share_right
    passed = share is None or share >= minimum
    described = (
        "no evaluation questions, so there is nothing to compare with"
        if share is None
        else f"{share:.0%} right, at least {minimum:.0%} required"
    )
    outcome = CheckOutcome(passed, described, {"share_right": share, "at_least": minimum})
    return check_gates.check_result(
        catalog, "answers_right", "chat_flow_evaluation", chat_flow_evaluation.digest, outcome
    )
