"""What to do next about the failures that we know."""

OPEN = "open the run, where its log says more"
CHECKS = {
    "gpu_quota": "nothing was started and nothing is paid for: ask for the quota, or choose another PHI_AZURE_VM_SIZE",
    "chat_dataset": "this version is not trained on, and the old model keeps serving: mend the file, or take it out of "
    "the inbox; the page of `chat_dataset` shows what was left out, and why",
    "model_evaluation": "this model is not registered, and the old one keeps serving: the page of `model_evaluation` "
    "shows its answers; send other or more conversations",
    "chat_flow_evaluation": "this deployment answers already: look at its answers on the page of "
    "`chat_flow_evaluation`; the job `rollback` brings the former champion back",
}
STEPS = {
    "base_model": "look whether PHI_BASE_MODEL is there and can be reached, then run `phi run`",
    "fine_tuned_model": "the run's log has the training's own; the old model keeps serving. Mend what it says, then "
    "launch the job `retrain`",
    "online_deployment": "who had the traffic keeps it; mend what is said, then launch the job `redeploy`",
    "look_ahead": "mend what is said, then run `phi preflight`",
}
STEP = "mend what is said, then run `phi run`, which makes what is missing and nothing else"
RUN = "what it had finished is kept; launch it again, or run `phi run`"
WARNING = "nothing was stopped: open the asset's checks, where the numbers stand"


def of_checks(asset: str, *, blocking: bool) -> str:
    """What to do about failed checks of an asset."""
    return CHECKS.get(asset, STEP) if blocking else WARNING


def of_step(step: str) -> str:
    """What to do about a failed step whose error names no remedy."""
    return STEPS.get(step, STEP)
