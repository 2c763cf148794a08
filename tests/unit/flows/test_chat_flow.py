"""The chat flow, run by Prompt flow itself against an endpoint."""

import shutil
from pathlib import Path

import pytest

from phi_assets.prompt_flow.child_process import PromptFlowFailed
from phi_assets.prompt_flow.package import folder_digest, package_flow
from phi_assets.prompt_flow.trial import prove_flow, try_flow

CHAT_FLOW = Path(__file__).resolve().parents[3] / "flows" / "chat"


@pytest.fixture(scope="module")
def packaged(tmp_path_factory) -> Path:
    """The flow with the modules that it calls."""
    return package_flow(CHAT_FLOW, tmp_path_factory.mktemp("packages"))[0]


@pytest.mark.guide("flow-dag")
def test_the_flow_answers_a_question_with_its_history_and_stays_as_it_is(connected, endpoint, packaged):
    before = folder_digest(packaged)
    history = [{"inputs": {"question": "Who are you?"}, "outputs": {"answer": "Phi."}}]
    outputs = try_flow(packaged, connected, {"question": "And you?", "chat_history": history})
    assert outputs["answer"] == "3 messages, the last: And you?"
    assert outputs["served_by"]["deployment"] == "blue"
    assert outputs["served_by"]["request_id"] == "7"
    assert endpoint.requests[0]["headers"].get("x-phi-keep") is None
    assert folder_digest(packaged) == before


def test_a_question_that_the_endpoint_refuses_fails_with_what_to_do(connected, packaged):
    with pytest.raises(PromptFlowFailed, match=r"^http://.* answered 422: told to refuse; change the question"):
        try_flow(packaged, connected, {"question": "something unanswerable"})


def test_a_misspelt_question_is_refused_instead_of_answered_with_a_default(connected, endpoint, packaged):
    with pytest.raises(PromptFlowFailed, match="'question'"):
        try_flow(packaged, connected, {"quesion": "Who are you?"})
    assert endpoint.requests == []


def test_a_flow_without_its_connection_says_which_one_is_missing(connected, tmp_path):
    folder, _ = package_flow(CHAT_FLOW, tmp_path / "packages", connection="never_made")
    with pytest.raises(PromptFlowFailed, match=r"'never_made' is not found in .*; materialise endpoint_connection"):
        try_flow(folder, connected, {"question": "Who are you?"})


def test_a_flow_is_published_when_it_answers_with_and_without_history(connected, endpoint, tmp_path):
    lines: list[str] = []
    folder, digest = package_flow(
        CHAT_FLOW, tmp_path / "packages", accept=lambda draft: prove_flow(draft, connected, lines.append)
    )
    assert [len(request["body"]["messages"]) for request in endpoint.requests] == [1, 3]
    assert len(lines) == 2
    assert "served by blue (phi)" in lines[0]
    assert folder_digest(folder) == digest


def test_a_flow_that_does_not_say_what_answered_is_not_published(connected, tmp_path):
    source = shutil.copytree(CHAT_FLOW, tmp_path / "flow")
    flow = (source / "flow.dag.yaml").read_text()
    begin, end = flow.index("  served_by:"), flow.index("nodes:")
    (source / "flow.dag.yaml").write_text(flow[:begin] + flow[end:])
    with pytest.raises(PromptFlowFailed, match="its outputs must be 'answer', a text, and 'served_by'"):
        package_flow(source, tmp_path / "packages", accept=lambda draft: prove_flow(draft, connected))
    assert list((tmp_path / "packages").iterdir()) == []
