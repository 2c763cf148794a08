"""Asks the chat's agent the evaluation questions, and stores its answers under the home."""

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from phi_assets.backends import content_store
from phi_assets.backends.disk_space import require_space
from phi_assets.errors import BackendError
from phi_assets.files import atomic_write
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.chat import AgentStore
from phi_assets.records import AgentEvaluation, Deployment, Endpoint, Record

if TYPE_CHECKING:
    from chat_code.agent import AgentAnswer, ChatAgent
    from evaluation_code.inputs import Question

AGENT = tuple(
    f"chat_code/{name}.py"
    for name in ("agent", "content_filter", "conversations", "endpoint", "endpoint_errors", "tracing", "turn")
)
ROWS = "rows.jsonl"
ROWS_BYTES = 1_000_000
MAX_TOKENS = 64  # as in the evaluations of model and chat flow


class LocalAgentStore(AgentStore):
    """Asks in this process: the work is done by the endpoint."""

    decides: ClassVar = {
        "agent_evaluation": Decides(programs=(*AGENT, "evaluation_code")),
    }
    state: str

    def find(self, digest: str) -> Record | None:
        return content_store.find(self.evaluations, digest, lambda folder: (folder / ROWS).is_file())

    def evaluate(
        self, endpoint: Endpoint, key: str, deployment: Deployment, questions: Path | None, log: Log
    ) -> AgentEvaluation:
        from evaluation_code.inputs import InputError, read_questions

        require_space(self.evaluations, ROWS_BYTES, "the agent's evaluation")
        try:
            asked = read_questions(questions)
        except InputError as e:
            raise BackendError(str(e)) from e
        rows = asyncio.run(_rows(endpoint.address, key, asked, log))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        digest = hashlib.sha256(f"{deployment.digest}\n{lines}".encode()).hexdigest()
        work = self.evaluations / f"under-way-{digest[:12]}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        atomic_write(work / ROWS, lines)
        folder = content_store.accept(work, self.evaluations, digest)
        share = sum(row["right"] for row in rows) / len(rows) if rows else None
        evaluation = AgentEvaluation(digest=digest, address=str(folder), questions=len(rows), share_right=share)
        content_store.put(evaluation, folder)
        return evaluation

    def rows(self, evaluation: AgentEvaluation) -> list[dict[str, Any]]:
        lines = (Path(evaluation.address) / ROWS).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    @property
    def evaluations(self) -> Path:
        """The folder of the evaluations, by the start of the digest."""
        return Path(self.state) / "agent_evaluations"


async def _rows(address: str, key: str, questions: Sequence["Question"], log: Log) -> list[dict[str, Any]]:
    """Return a row for each question. One at a time: in a batch the same question may get another text."""
    from chat_code.agent import ChatAgent
    from chat_code.endpoint import Endpoint as Asked
    from chat_code.endpoint import Sampling
    from chat_code.turn import TurnSettings
    from evaluation_code.matching import answer_keys, judge

    agent = ChatAgent(Asked(address, lambda: key, keeps=True), TurnSettings(sampling=Sampling(MAX_TOKENS, 0.0)))
    rows: list[dict[str, Any]] = []
    try:
        for question, mark in zip(questions, answer_keys(questions), strict=True):
            row = await _asked(agent, [dict(message) for message in question.messages])
            judgement = judge(row["answer"] or "", mark)
            right = judgement.right and row["error"] is None
            rows.append({**row, "expected": list(question.answers), "right": right, "reason": judgement.reason})
            if len(rows) % 20 == 0:
                log(f"{len(rows)} of {len(questions)} questions answered by the agent")
    finally:
        await agent.close()
    return rows


async def _asked(agent: "ChatAgent", messages: list[dict[str, Any]]) -> dict[str, Any]:
    from chat_code.endpoint_errors import EndpointRefused

    *before, last = messages
    row: dict[str, Any] = {"question": last["content"], "history": len(before), "messages": messages, "answer": None}
    row |= {"served_by": None, "seconds": None, "error": None}
    started = time.monotonic()
    try:
        answer = await agent.ask(last["content"], before=before)
    except EndpointRefused as e:
        return {**row, "error": str(e)}
    seconds = round(time.monotonic() - started, 3)
    return {**row, "answer": answer.text, "seconds": seconds, "served_by": _origin(answer)}


def _origin(answer: "AgentAnswer") -> Mapping[str, str]:
    served = asdict(answer.served)
    names = ("deployment", "model", "model_version")
    return {"request_id": answer.served.answer_id.removeprefix("chatcmpl-"), **{name: served[name] for name in names}}
