"""Does the chat flow answer as the model behind it does?"""

import dagster as dg

from phi_assets.graph import check_gates
from phi_assets.outcome import CheckOutcome
from phi_assets.records import FlowEvaluation
from phi_assets.settings import current

DESCRIPTION = "The flow answers at least PHI_MIN_FLOW_SHARE_RIGHT of the evaluation questions right."


@dg.asset_check(asset="chat_flow_evaluation", blocking=True, description=DESCRIPTION)
def answers_right(chat_flow_evaluation: FlowEvaluation) -> dg.AssetCheckResult:
    """Passes with a word on it when there are no evaluation questions."""
    share, least = chat_flow_evaluation.share_right, current().min_flow_share_right
    passed = share is None or share >= least
    described = (
        "no evaluation questions: nothing to judge by"
        if share is None
        else f"{share:.0%} right, at least {least:.0%} wanted"
    )
    outcome = CheckOutcome(passed, described, {"share_right": share, "at_least": least})
    return check_gates.check_result("answers_right", "chat_flow_evaluation", chat_flow_evaluation.digest, outcome)
