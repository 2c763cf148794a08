"""Tests a flow against the live endpoint before it is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from phi_assets.prompt_flow.child_process import PromptFlowFailed, run_child

CHILD = "phi_assets.prompt_flow.trial_child"
TIMEOUT_S = 240.0
# One question alone, and one that needs the turn before it; the evaluation measures the quality of answers.
QUESTIONS = (
    {"question": "What can you help me with?", "chat_history": []},
    {
        "question": "Say that again, please.",
        "chat_history": [{"inputs": {"question": "Hello!"}, "outputs": {"answer": "Hello! How can I help?"}}],
    },
)


def try_flow(
    folder: Path, environment: Mapping[str, str], inputs: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Return the outputs of the flow in `folder` for `inputs`, from Prompt flow's own test.

    The flow runs in a copy of its folder.

    Raises:
        PromptFlowFailed: the flow could not be loaded, or one of its nodes failed; the message is the node's.
    """
    return flow_outputs(folder, environment, [inputs], timeout_s)[0]


def flow_outputs(
    folder: Path, environment: Mapping[str, str], inputs: Sequence[Mapping[str, Any]], timeout_s: float
) -> list[dict[str, Any]]:
    """Return the outputs for each of the inputs, asked one after the other.

    One process asks all, because starting Prompt flow takes seconds. Raises PromptFlowFailed.
    """
    request = {"flow": str(folder), "inputs": [dict(each) for each in inputs]}
    return run_child(CHILD, request, environment, timeout_s=timeout_s)["outputs"]


def prove_flow(folder: Path, environment: Mapping[str, str], log: Callable[[str], None] | None = None) -> None:
    """Ask the flow one question without and one with history; both need an answer and the deployment that gave it.

    Raises:
        PromptFlowFailed: a question failed, or an output is missing.
    """
    results = flow_outputs(folder, environment, [{**inputs, "max_tokens": 24} for inputs in QUESTIONS], TIMEOUT_S)
    for inputs, outputs in zip(QUESTIONS, results, strict=True):
        answer, served_by = outputs.get("answer"), outputs.get("served_by")
        if not isinstance(answer, str) or not isinstance(served_by, dict):
            raise PromptFlowFailed(
                f"the flow in {folder} answered {inputs['question']!r} with {outputs!r}; its outputs must be"
                " 'answer', a text, and 'served_by', an object: correct them in flow.dag.yaml"
            )
        if log:
            log(f"flow asked {inputs['question']!r}: {len(answer)} characters, served by {_name(served_by)}")


def _name(served_by: Mapping[str, Any]) -> str:
    version = served_by.get("model_version")
    return (
        f"{served_by.get('deployment') or 'the endpoint'} ({served_by.get('model')}{f' {version}' if version else ''})"
    )
