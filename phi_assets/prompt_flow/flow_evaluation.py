"""Runs the chat flow on the evaluation questions as a Prompt flow batch, and scores its answers."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets.files import atomic_write
from phi_assets.project import PROJECT
from phi_assets.prompt_flow.child_process import run_child

EVALUATION_FLOW = PROJECT / "flows" / "evaluation"
# The endpoint answers up to eight requests together, but each worker is a process: on two cores, eight take longer to
# start than they save on a file of eighty questions.
WORKERS = 4
MAX_TOKENS = 64  # as in the model's own evaluation
TIMEOUT_S = 3600.0
CHILD = "phi_assets.prompt_flow.batch_child"


@dataclass(frozen=True)
class FlowEvaluationResult:
    """The result of a batch run; `rows_file` holds the rows too, one JSON object a line, in the questions' order.

    Attributes:
        rows: per question: question, history (number of earlier messages), expected, answer, right, reason, served_by,
            seconds, error. A row that failed has answer None, right False and an error.
        share_right: right answers among all questions, failed ones included; None when there are no questions.
        failed: number of questions that got no answer.
        seconds: duration of the whole evaluation.
        rows_file: `<output_dir>/rows.jsonl`.
        summary_file: `<output_dir>/summary.json`: counts, share and the deployments that answered.
    """

    rows: list[dict[str, Any]]
    share_right: float | None
    failed: int
    seconds: float
    rows_file: Path
    summary_file: Path


def run_flow_evaluation(
    flow_folder: Path,
    questions_file: Path,
    output_dir: Path,
    environment: Mapping[str, str],
    log: Callable[[str], None],
    *,
    evaluation_flow: Path = EVALUATION_FLOW,
    workers: int = WORKERS,
    max_tokens: int = MAX_TOKENS,
    timeout_s: float = TIMEOUT_S,
) -> FlowEvaluationResult:
    """Ask the flow every question through `pf.run`, score the answers with the evaluation flow, and store both.

    Both flows run in copies of their folders. A failed question is recorded as wrong and does not stop the run.

    Args:
        flow_folder: the packaged chat flow.
        questions_file: JSON Lines, `{"messages": [...], "answers": [...]}` a line.
        output_dir: where rows.jsonl and summary.json are written.
        environment: from `prompt_flow_environment`, of the home with the connection.
        log: gets progress lines.
        evaluation_flow: the flow that scores the answers.
        workers: maximum questions that run at the same time.
        max_tokens: maximum length of an answer, in tokens.
        timeout_s: maximum duration, in seconds.

    Raises:
        PromptFlowFailed: the questions file is malformed (with the line), or Prompt flow could not run the batch.
    """
    started = time.monotonic()
    request = {
        "flow": str(flow_folder.resolve()),
        "evaluation_flow": str(evaluation_flow.resolve()),
        "questions_file": str(questions_file.resolve()),
        "max_tokens": max_tokens,
        "workers": workers,
    }
    rows = run_child(CHILD, request, environment, log=log, timeout_s=timeout_s)["rows"]
    return _keep(rows, output_dir, time.monotonic() - started)


def _keep(rows: list[dict[str, Any]], output_dir: Path, seconds: float) -> FlowEvaluationResult:
    failed = sum(row["error"] is not None for row in rows)
    right = sum(row["right"] for row in rows)
    share = right / len(rows) if rows else None
    summary = {
        "questions": len(rows),
        "right": right,
        "share_right": share,
        "failed": failed,
        "seconds": round(seconds, 1),
        "served_by": _served_by(rows),
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    rows_file = _write(output_dir / "rows.jsonl", lines)
    summary_file = _write(output_dir / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return FlowEvaluationResult(rows, share, failed, seconds, rows_file, summary_file)


def _served_by(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each deployment and model version that answered, with its number of answers."""
    names = ("deployment", "model", "model_version")
    counts = Counter(tuple(row["served_by"][name] for name in names) for row in rows if row["served_by"])
    return [{**dict(zip(names, served, strict=True)), "answers": count} for served, count in sorted(counts.items())]


def _write(file: Path, text: str) -> Path:
    atomic_write(file, text)
    return file
