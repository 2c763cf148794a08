"""Candidates in a review queue of MLflow, where people approve, reject or correct them on MLflow's own page.

The only file that touches MLflow's review queues and label schemas, which are experimental since 3.14.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi_assets.conversations.feedback.rated_answers import Candidate, candidate_from
from phi_assets.conversations.feedback.reviewed_rows import Approved, Review
from phi_assets.errors import BackendError
from phi_assets.files import locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "chat feedback"
DECISION, CORRECTED = "decision", "corrected_answer"
APPROVE, REJECT = "approve", "reject"
CANDIDATE, DIGEST = "phi.candidate", "phi.candidate_digest"
PAGE = 500
ASKED = {
    DECISION: "May the model learn the proposed answer to this conversation? Approve only what is right.",
    CORRECTED: "Where the proposed answer is not right: the right one. It is learned instead.",
}


@dataclass(frozen=True)
class Finished:
    """The reviews that are done: approved candidates, the number of rejected ones, and of those without a decision."""

    approved: tuple[Approved, ...]
    rejected: int
    undecided: int
    pending: int


class ReviewQueue:
    """The queue of one home's MLflow, on SQLite. Methods may take seconds: they import MLflow."""

    def __init__(self, database: Path) -> None:
        self._database = database

    @property
    def database(self) -> Path:
        """MLflow's database."""
        return self._database

    def synchronise(self, candidates: Iterable[Candidate]) -> tuple[int, int]:
        """Put new candidates into the queue, and remove those that are no longer proposed; return how many of each.

        A rating that was changed is another proposal: the former one goes, with what reviewers said of it.
        """
        wanted = {candidate.digest: candidate for candidate in candidates}
        with locked(self._database.parent / ".reviews.lock"):
            experiment = self._experiment()
            present = dict(self._present(experiment))
            gone = [trace for trace, digest in present.items() if digest not in wanted]
            for start in range(0, len(gone), 100):
                self._client.delete_traces(experiment, trace_ids=gone[start : start + 100])
            known = set(present.values())
            new = [candidate for digest, candidate in wanted.items() if digest not in known]
            traces = [self._trace(experiment, candidate) for candidate in new]
            if traces:
                import mlflow
                from mlflow.genai import review_queues

                mlflow.flush_trace_async_logging()  # a thread stores the spans
                self._require_stored(experiment, set(traces))

                queue = self._queue(experiment)
                for start in range(0, len(traces), 100):
                    review_queues.add_items_to_review_queue(queue, item_ids=traces[start : start + 100])
        return len(new), len(gone)

    def finished(self) -> Finished:
        """Return what reviewers decided."""
        from mlflow.genai import review_queues

        experiment = self._experiment()
        queue = self._queue(experiment)
        items = list(
            _all(lambda token: review_queues.list_review_queue_items(queue, max_results=PAGE, page_token=token))
        )
        approved: list[Approved] = []
        counts = dict.fromkeys((APPROVE, REJECT, "undecided", "pending"), 0)
        for item in items:
            if item.status == "pending":
                counts["pending"] += 1
                continue
            trace = self._client.get_trace(item.item_id)
            stored = trace.data.spans[0].get_attribute(CANDIDATE)  # MLflow reads JSON in an attribute
            candidate = candidate_from(json.loads(stored) if isinstance(stored, str) else dict(stored or {}))
            if item.status == "declined":
                counts[REJECT] += 1
                continue
            review = _review(candidate, item, trace.info.assessments)
            if review is None:
                counts["undecided"] += 1
            elif review.decision == REJECT:
                counts[REJECT] += 1
            else:
                approved.append(Approved(candidate, review))
        return Finished(tuple(approved), counts[REJECT], counts["undecided"], counts["pending"])

    def address_of_page(self, server: str) -> str:
        """Return the address of the queue's page on MLflow's server."""
        experiment = self._experiment()
        return f"{server}/#/experiments/{experiment}/review-queue?selectedQueueId={self._queue(experiment)}"

    @property
    def _client(self) -> MlflowClient:
        import mlflow

        uri = f"sqlite:///{self._database.absolute()}"
        mlflow.set_tracking_uri(uri)
        return mlflow.MlflowClient(tracking_uri=uri)

    def _experiment(self) -> str:
        client = self._client
        found = client.get_experiment_by_name(NAME)
        return found.experiment_id if found else client.create_experiment(NAME)

    def _queue(self, experiment: str) -> str:
        """Return the queue's id; made with its two questions when there is none."""
        from mlflow.genai import label_schemas, review_queues
        from mlflow.genai.label_schemas import InputCategorical, InputText

        for queue in _all(
            lambda token: review_queues.list_review_queues(experiment_id=experiment, max_results=PAGE, page_token=token)
        ):
            if queue.name == NAME:
                return queue.queue_id
        present = {schema.name: schema for schema in label_schemas.list_label_schemas(experiment_id=experiment)}
        decision = present.get(DECISION) or label_schemas.create_label_schema(
            name=DECISION,
            type="feedback",
            input=InputCategorical(options=[APPROVE, REJECT]),
            instruction=ASKED[DECISION],
            experiment_id=experiment,
        )
        corrected = present.get(CORRECTED) or label_schemas.create_label_schema(
            name=CORRECTED,
            type="expectation",
            input=InputText(),
            instruction=ASKED[CORRECTED],
            experiment_id=experiment,
        )
        ids = [str(schema.schema_id) for schema in (decision, corrected)]
        return review_queues.create_review_queue(
            NAME, queue_type="custom", users=[], schema_ids=ids, experiment_id=experiment
        ).queue_id

    def _trace(self, experiment: str, candidate: Candidate) -> str:
        """Store a candidate as a trace, which is what a queue holds; its page shows inputs and outputs."""
        client = self._client
        tags = {CANDIDATE: candidate.id, DIGEST: candidate.digest}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what MLflow imports; as errors they would end the trace in silence
            span = client.start_trace(
                "chat answer",
                inputs=_conversation(candidate),
                attributes={CANDIDATE: json.dumps(asdict(candidate), ensure_ascii=False)},
                tags=tags,
                experiment_id=experiment,
            )
            client.end_trace(span.trace_id, outputs=_proposal(candidate))
        return span.trace_id

    def _require_stored(self, experiment: str, traces: set[str]) -> None:
        """Raise BackendError for a trace that is not there: MLflow only logs that it could not store one."""
        lost = traces - {trace for trace, _ in self._present(experiment)}
        if lost:
            raise BackendError(
                f"MLflow did not store {len(lost)} of {len(traces)} candidates for review; its log says why"
            )

    def _present(self, experiment: str) -> Iterator[tuple[str, str]]:
        for trace in _all(
            lambda token: self._client.search_traces(
                locations=[experiment], max_results=PAGE, page_token=token, include_spans=False
            )
        ):
            if DIGEST in trace.info.tags:
                yield trace.info.trace_id, trace.info.tags[DIGEST]


def _conversation(candidate: Candidate) -> dict[str, Any]:
    """Return the conversation as MLflow's page shows it: as JSON, in which no text is markup."""
    *earlier, question = candidate.turns
    before = [f"{turn['role']}: {turn['content']}" for turn in earlier]
    return {**({"before": before} if before else {}), "question": question["content"]}


def _proposal(candidate: Candidate) -> dict[str, str]:
    """Return what is proposed, and where it comes from."""
    source = "a person's correction" if candidate.correction else "the model's own answer, rated up"
    shown = {"proposed_answer": candidate.proposed, "which_is": source}
    if candidate.correction:
        shown["answer_of_the_model"] = candidate.given
    return {**shown, "model": candidate.model, **({"comment": candidate.comment} if candidate.comment else {})}


def _review(candidate: Candidate, item: Any, assessments: Iterable[Any]) -> Review | None:
    """Return the newest decision on a finished item; None where nobody decided.

    A corrected answer without a decision approves itself.
    """
    newest = {each.name: each for each in sorted(assessments, key=lambda one: one.last_update_time_ms or 0)}
    decision = newest[DECISION].value if DECISION in newest else None
    corrected = str(newest[CORRECTED].value or "").strip() if CORRECTED in newest else ""
    if decision not in (APPROVE, REJECT) and not corrected:
        return None
    reject = decision == REJECT and not corrected
    return Review(
        candidate=candidate.id,
        decision=REJECT if reject else APPROVE,
        answer=corrected or candidate.proposed,
        reviewer=item.completed_by or "",
        at=(item.completed_time_ms or 0) / 1000,
    )


def _all(page: Any) -> Iterator[Any]:
    token = None
    while True:
        found = page(token)
        yield from found
        token = found.token
        if not token:
            return
