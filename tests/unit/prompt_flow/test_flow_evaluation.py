"""Prompt flow's batch run over evaluation questions, marked by the evaluation flow."""

import json
from pathlib import Path
from typing import Any

import pytest

from phi_assets.prompt_flow.batch_child import flow_inputs
from phi_assets.prompt_flow.child_process import PromptFlowFailed
from phi_assets.prompt_flow.flow_evaluation import run_flow_evaluation
from phi_assets.prompt_flow.package import is_intact, package_flow

CHAT_FLOW = Path(__file__).resolve().parents[3] / "flows" / "chat"


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _questions(file: Path, rows: list[tuple[list[dict[str, str]], list[str]]]) -> Path:
    file.write_text(
        "".join(json.dumps({"messages": messages, "answers": answers}) + "\n" for messages, answers in rows)
    )
    return file


def _evaluate(questions: Path, environment: dict[str, str], tmp_path: Path, log: list[str] | None = None, **more: Any):
    flow, _ = package_flow(CHAT_FLOW, tmp_path / "packages")
    return run_flow_evaluation(
        flow, questions, tmp_path / "out", environment, (log if log is not None else []).append, workers=2, **more
    )


@pytest.mark.guide("integrate")
@pytest.mark.integration
def test_each_question_is_asked_with_its_history_and_marked_and_a_refused_one_stops_nothing(
    connected, endpoint, connected_home, tmp_path
):
    history = [{"role": "system", "content": "Be short."}, _user("Hello?"), {"role": "assistant", "content": "Yes?"}]
    questions = _questions(
        tmp_path / "questions.jsonl",
        [
            ([_user("Is it amber?")], ["amber"]),
            ([*history, _user("Is it cobalt?")], ["4 messages"]),
            ([_user("unanswerable")], ["teal"]),
            ([_user("What is it?")], ["violet"]),
            ([_user("It is\u2028umber, \u00e9h?")], ["umber"]),
        ],
    )
    lines: list[str] = []
    result = _evaluate(questions, connected, tmp_path, lines, max_tokens=17)
    assert [row["right"] for row in result.rows] == [True, True, False, False, True]
    assert (result.share_right, result.failed) == (3 / 5, 1)
    assert {request["body"]["max_tokens"] for request in endpoint.requests} == {17}

    row = result.rows[1]
    assert row["question"] == "Is it cobalt?"
    assert row["answer"] == "4 messages, the last: Is it cobalt?"
    assert row["history"] == 3
    assert row["expected"] == ["4 messages"]
    assert row["served_by"] == {"request_id": "7", "deployment": "blue", "model": "phi", "model_version": ""}
    assert row["seconds"] > 0
    assert row["error"] is None

    failed = result.rows[2]
    assert failed["answer"] is None
    assert "answered 422: told to refuse; change the question" in failed["error"]
    assert result.rows[3]["reason"] == "holds no accepted answer"

    kept = [json.loads(line) for line in result.rows_file.read_text(encoding="utf-8").split("\n") if line]
    assert kept == result.rows
    summary = json.loads(result.summary_file.read_text())
    assert (summary["questions"], summary["right"], summary["failed"]) == (5, 3, 1)
    assert summary["served_by"] == [{"deployment": "blue", "model": "phi", "model_version": "", "answers": 4}]
    assert any("3 of 5 answers are right" in line for line in lines)
    assert not list((connected_home / "prompt_flow" / ".runs").iterdir())
    assert not list((connected_home / "prompt_flow").glob("phi-*"))
    [flow] = (tmp_path / "packages").iterdir()
    assert is_intact(flow)


@pytest.mark.integration
def test_a_batch_whose_every_question_is_refused_is_a_result_and_not_a_crash(connected, tmp_path):
    questions = _questions(tmp_path / "questions.jsonl", [([_user("unanswerable a")], ["a b"])] * 2)
    result = _evaluate(questions, connected, tmp_path)
    assert (result.share_right, result.failed) == (0.0, 2)
    assert all("told to refuse" in row["error"] for row in result.rows)


def test_no_questions_give_no_share_and_start_no_batch(connected, endpoint, tmp_path):
    result = _evaluate(_questions(tmp_path / "questions.jsonl", []), connected, tmp_path)
    assert (result.rows, result.share_right, result.failed) == ([], None, 0)
    assert result.rows_file.read_text() == ""
    assert endpoint.requests == []


def test_a_malformed_question_is_refused_with_its_line(connected, endpoint, tmp_path):
    questions = _questions(tmp_path / "questions.jsonl", [([_user("fine")], ["a1"]), ([_user("no answers")], [])])
    with pytest.raises(PromptFlowFailed, match=r"questions\.jsonl, line 2: \"answers\" must be a list"):
        _evaluate(questions, connected, tmp_path)
    assert endpoint.requests == []


def test_a_conversation_becomes_prompt_flows_question_and_history():
    messages = [
        {"role": "system", "content": "s"},
        _user("a"),
        {"role": "assistant", "content": "b"},
        _user("c"),
        _user("d"),
    ]
    assert flow_inputs(messages) == {
        "question": "d",
        "chat_history": [
            {"role": "system", "content": "s"},
            {"inputs": {"question": "a"}, "outputs": {"answer": "b"}},
            {"role": "user", "content": "c"},
        ],
    }


def test_a_conversation_that_does_not_end_with_the_user_has_no_question():
    with pytest.raises(ValueError, match="the last message is not the user's"):
        flow_inputs([_user("a"), {"role": "assistant", "content": "b"}])
