"""Decisions in the review queue, as MLflow's page stores them when a reviewer answers and submits."""

from pathlib import Path
from typing import Literal

import mlflow
from mlflow.entities import AssessmentSource
from mlflow.genai import review_queues

from phi_assets.backends.review_queue import CORRECTED, DECISION, NAME

Status = Literal["complete", "declined"]


def decide(state: Path, question: str, decision: str = "", corrected: str = "", status: Status = "complete") -> None:
    """Decide on the candidate with this question, in the folder of a backend. Fails when the queue has none."""
    mlflow.set_tracking_uri(f"sqlite:///{state}/mlflow/mlflow.db")
    named = mlflow.get_experiment_by_name(NAME)
    assert named is not None
    [queue] = review_queues.list_review_queues(experiment_id=named.experiment_id)
    by = AssessmentSource("HUMAN", "carl")
    for item in review_queues.list_review_queue_items(queue.queue_id):
        trace = mlflow.get_trace(item.item_id)
        assert trace is not None
        if trace.data.spans[0].inputs["question"] == question:
            if decision:
                mlflow.log_feedback(trace_id=item.item_id, name=DECISION, value=decision, source=by)
            if corrected:
                mlflow.log_expectation(trace_id=item.item_id, name=CORRECTED, value=corrected, source=by)
            review_queues.set_review_queue_item_status(
                queue.queue_id, item_id=item.item_id, status=status, completed_by="carl"
            )
            return
    raise AssertionError(f"{question!r} is not in the queue")
