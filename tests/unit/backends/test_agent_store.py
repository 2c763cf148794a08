"""The agent's evaluation, and its comparison with the packaged chat flow: real Agent Framework, real Prompt flow."""

import json
from pathlib import Path

import pytest

from phi_assets.backends.agent_store import MAX_TOKENS, LocalAgentStore
from phi_assets.backends.flow_store import SOURCE, PromptFlowStore
from phi_assets.errors import BackendError
from phi_assets.prompt_flow import flow_evaluation
from phi_assets.prompt_flow.package import package_flow
from phi_assets.records import Deployment, Endpoint, FlowPackage
from tests.support.scripted_endpoint import (
    KEY,
    ScriptedEndpoint,
    chat_flow_importable,
    connected,
    connected_home,
    endpoint,
    endpoint_server,
    user_home,
)

__all__ = ["chat_flow_importable", "connected", "connected_home", "endpoint", "endpoint_server", "user_home"]

HISTORY = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Yes?"},
]
DEPLOYMENT = Deployment(
    digest="d" * 64,
    endpoint="chat",
    name="blue",
    model_name="phi",
    model_version="3",
    model_digest="m",
    dataset_digest="s",
    training_run="r",
)


def _questions(folder: Path) -> Path:
    asked = [([], "Is it amber?", "amber"), (HISTORY, "Is it cobalt?", "4 messages"), ([], "unanswerable", "teal")]
    rows = [
        {"messages": [*before, {"role": "user", "content": question}], "answers": [right]}
        for before, question, right in asked
    ]
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.integration
def test_each_question_is_asked_alone_and_marked_and_the_flow_says_the_same(
    connected, connected_home: Path, endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    store = LocalAgentStore(state=str(connected_home))
    asked = Endpoint(digest="e" * 64, name="chat", address=endpoint.address)
    lines: list[str] = []
    evaluation = store.evaluate(asked, KEY, DEPLOYMENT, _questions(tmp_path), lines.append)

    rows = [json.loads(line) for line in (Path(evaluation.address) / "rows.jsonl").read_text().splitlines()]
    assert [row["right"] for row in rows] == [True, True, False]
    assert (evaluation.questions, evaluation.share_right) == (3, 2 / 3)
    assert "told to refuse" in rows[2]["error"]
    assert rows[1]["answer"] == "4 messages, the last: Is it cobalt?"
    assert rows[0]["served_by"] == {"request_id": "7", "deployment": "blue", "model": "phi", "model_version": ""}
    assert store.find(evaluation.digest) == evaluation
    by_agent = [request["body"] for request in endpoint.requests]
    assert {request["headers"]["authorization"] for request in endpoint.requests} == {f"Bearer {KEY}"}

    folder, digest = package_flow(SOURCE, tmp_path / "flows")
    flow = FlowPackage(digest=digest, address=str(folder))
    said = PromptFlowStore(state=str(connected_home), concurrency=1)
    answered = [row["messages"] for row in store.rows(evaluation) if row["error"] is None]
    assert said.ask(flow, answered, MAX_TOKENS, lines.append) == [row["answer"] for row in rows[:2]]
    # Both sent the endpoint the same conversation, limit and temperature.
    by_flow = [request["body"] for request in endpoint.requests[len(by_agent) :]]
    assert [body["messages"] for body in by_flow] == [body["messages"] for body in by_agent[:2]]
    assert {body["max_tokens"] for body in by_flow} == {body["max_completion_tokens"] for body in by_agent} == {64}
    assert {body["temperature"] for body in (*by_flow, *by_agent)} == {0.0}
    assert MAX_TOKENS == flow_evaluation.MAX_TOKENS
    endpoint.refuse(400, "no more")
    with pytest.raises(BackendError, match="no more"):
        said.ask(flow, answered, MAX_TOKENS, lines.append)


def test_without_questions_there_is_an_evaluation_of_none_and_a_broken_file_is_named(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    store = LocalAgentStore(state=str(tmp_path))
    asked = Endpoint(digest="e" * 64, name="chat", address=endpoint.address)
    evaluation = store.evaluate(asked, KEY, DEPLOYMENT, None, print)
    assert (evaluation.questions, evaluation.share_right) == (0, None)
    assert store.find(evaluation.digest) == evaluation
    broken = tmp_path / "questions.jsonl"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(BackendError, match=r"questions\.jsonl, line 1"):
        store.evaluate(asked, KEY, DEPLOYMENT, broken, print)
