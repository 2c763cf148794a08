"""Child process: run the chat flow on the evaluation questions, then score its answers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phi_assets.prompt_flow.batch_run import BatchOutcome, run_batch
from phi_assets.prompt_flow.child_process import answer_request, report_progress

# Scoring compares words; most of the time is the start of a worker.
MARKING_WORKERS = 2
LOST = "Prompt flow gave neither an answer nor an error for this row; ask it alone with `pf flow test`"


def _handle(request: dict[str, Any]) -> dict[str, Any]:
    from evaluation_code.inputs import read_questions

    file = Path(request["questions_file"])
    questions = read_questions(file)
    if not questions:
        report_progress(f"no evaluation questions in {file}")
        return {"rows": []}
    inputs = [flow_inputs([dict(message) for message in question.messages]) for question in questions]
    with tempfile.TemporaryDirectory(prefix="flow-evaluation-") as here:
        outcome = _run_flow(request, inputs, Path(here))
        rows = [_row(i, values["question"], outcome) for i, values in enumerate(inputs)]
        marks = _mark(request, rows, Path(here))
    for row, question, mark in zip(rows, questions, marks, strict=True):
        row.update(history=len(question.messages) - 1, expected=list(question.answers))
        row.update(right=mark["right"] and row["error"] is None, reason=mark["reason"])
    report_progress(f"{sum(row['right'] for row in rows)} of {len(rows)} answers are right")
    return {"rows": rows}


def _run_flow(request: Mapping[str, Any], inputs: list[dict[str, Any]], here: Path) -> BatchOutcome:
    count, workers = len(inputs), request["workers"]
    report_progress(f"asking the flow {count} questions, up to {workers} at a time")
    columns = {"question": "${data.question}", "chat_history": "${data.chat_history}"}
    return run_batch(
        Path(request["flow"]),
        inputs,
        {**columns, "max_tokens": request["max_tokens"]},
        here=here,
        workers=workers,
        on_progress=lambda finished: report_progress(f"{finished} of {count} questions answered"),
    )


def _row(index: int, question: str, outcome: BatchOutcome) -> dict[str, Any]:
    output = outcome.outputs.get(index) or {}
    row = {"question": question, "answer": None, "served_by": None, "seconds": None, "error": None}
    if output.get("answer") is None:
        return {**row, "error": outcome.errors.get(index, LOST)}
    served_by = dict(output["served_by"])
    return {**row, "answer": output["answer"], "seconds": served_by.pop("seconds", None), "served_by": served_by}


def _mark(request: Mapping[str, Any], rows: list[dict[str, Any]], here: Path) -> list[dict[str, Any]]:
    """Return `{"right", "reason"}` for each row, in order."""
    outcome = run_batch(
        Path(request["evaluation_flow"]),
        [{"row": index, "answer": row["answer"] or ""} for index, row in enumerate(rows)],
        {"row": "${data.row}", "answer": "${data.answer}", "questions_file": request["questions_file"]},
        here=here,
        workers=MARKING_WORKERS,
    )
    for index in range(len(rows)):
        if index not in outcome.outputs:
            raise RuntimeError(f"the evaluation flow did not mark row {index}: {outcome.errors.get(index, LOST)}")
    return [outcome.outputs[index]["mark"] for index in range(len(rows))]


def flow_inputs(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `question` and `chat_history` for a conversation that ends with a user turn.

    A user turn and the answer after it become one turn of Prompt flow's chat history; a message without a partner (a
    system message) stays a message, which the flow accepts too.

    Raises:
        ValueError: the last message is not the user's.
    """
    if not messages or messages[-1]["role"] != "user":
        raise ValueError("the last message is not the user's, so there is no question to ask")
    history: list[dict[str, Any]] = []
    earlier = list(messages[:-1])
    while earlier:
        first = earlier.pop(0)
        if first["role"] == "user" and earlier and earlier[0]["role"] == "assistant":
            answer = earlier.pop(0)
            history.append({"inputs": {"question": first["content"]}, "outputs": {"answer": answer["content"]}})
        else:
            history.append({"role": first["role"], "content": first["content"]})
    return {"question": messages[-1]["content"], "chat_history": history}


if __name__ == "__main__":
    answer_request(_handle)
