"""Remedies for known failures."""

CHECKS = {
    "gpu_quota": "nothing was started and nothing is billed: request the quota, or choose another PHI_AZURE_VM_SIZE",
    "chat_dataset": "no model is trained on this version, and the old model keeps serving: fix the file, or remove it "
    "from the inbox; the page of `chat_dataset` shows what was left out, and why",
    "model_evaluation": "this model is not registered, and the old one keeps serving: the page of `model_evaluation` "
    "shows its answers; send other or more conversations",
    "chat_flow_evaluation": "this deployment already serves: inspect its answers on the page of "
    "`chat_flow_evaluation`; the job `rollback` restores the former champion",
}
STEPS = {
    "base_model": "check that PHI_BASE_MODEL exists and is reachable, then run `phi run`",
    "fine_tuned_model": "the run's log includes the training log; the old model keeps serving. Fix the error, then "
    "launch the job `retrain`",
    "online_deployment": "the previous deployment keeps the traffic; fix the error, then launch the job `redeploy`",
    "run_preflight": "fix the reported problems, then run `phi preflight`",
}
STEP = "fix the error, then run `phi run`, which makes what is missing and nothing else"
RUN = "its finished assets are stored; launch it again, or run `phi run`"
WARNING = "nothing was stopped: the asset's checks show the numbers"


def of_checks(asset: str, *, blocking: bool) -> str:
    """Return the remedy for failed checks of an asset."""
    return CHECKS.get(asset, STEP) if blocking else WARNING


def of_step(step: str) -> str:
    """Return the remedy for a failed step whose error names none."""
    return STEPS.get(step, STEP)
