"""The chat's agent of Microsoft Agent Framework, over the server's own route."""

from pathlib import Path

from chat_code.content_filter import WordList
from chat_code.turn import TurnSettings
from phi_assets.project import PROJECT
from tests.support.chat_server import ChatServer, StreamingEndpoint, ask, chat_server


def test_it_takes_the_flows_inputs_and_says_who_answered(server: ChatServer, endpoint: StreamingEndpoint) -> None:
    before = [
        {"inputs": {"question": "first"}, "outputs": {"answer": "one"}},
        {"role": "system", "content": "be short"},
    ]
    inputs = {"question": "hello there", "chat_history": before, "max_tokens": 7, "temperature": 0.5}
    answer = server.program().post("/agent", json=inputs)

    assert answer.json() == {
        "answer": "You said: hello there",
        "served_by": {"request_id": "1", "deployment": "blue", "model": "phi", "model_version": "3"},
    }
    body = endpoint.requests[0]["body"]
    assert [turn["content"] for turn in body["messages"]] == ["first", "one", "be short", "hello there"]
    assert (body["max_completion_tokens"], body["temperature"], body["truncation"]) == (7, 0.5, "auto")
    assert endpoint.requests[0]["headers"]["x-phi-keep"] == "no"
    assert server.client().get("/api/conversations").json()["conversations"] == []


def test_a_conversation_of_the_page_goes_on_with_the_agent_and_back(
    server: ChatServer, endpoint: StreamingEndpoint
) -> None:
    page = server.client()
    ask(page, "shared-conversation", "first")
    asked = {"question": "second", "conversation": "shared-conversation"}
    assert server.program().post("/agent", json=asked).json()["answer"] == "You said: second"

    contents = ["first", "You said: first", "second"]
    assert [turn["content"] for turn in endpoint.requests[-1]["body"]["messages"]] == contents
    messages = page.get("/api/conversations/shared-conversation").json()["messages"]
    assert [message["content"] for message in messages] == [*contents, "You said: second"]
    assert messages[-1]["state"] == "done"
    assert messages[-1]["served"]["model_version"] == "3"
    assert messages[2]["parent"] == messages[1]["id"]
    ask(page, "shared-conversation", "third", 3, parent=messages[-1]["id"])
    assert endpoint.requests[-1]["body"]["messages"][-2]["content"] == "You said: second"


def test_the_filter_the_system_prompt_and_the_endpoints_own_words(endpoint: StreamingEndpoint, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("forbidden", encoding="utf-8")
    settings = TurnSettings("be kind", content_filter=WordList(tmp_path / "words.txt"))
    with chat_server(tmp_path / "h.sqlite", {"tuned": endpoint.address}, settings=settings) as server:
        program = server.program()
        kept = {"conversation": "one-of-mine"}
        asked = program.post("/agent", json={"question": "forbidden", **kept})
        assert (asked.status_code, endpoint.requests) == (422, [])
        endpoint.steps.append(("say", "a forbidden word"))
        answered = program.post("/agent", json={"question": "say it", **kept})
        assert (answered.status_code, "forbidden word" in answered.text) == (422, False)
        assert endpoint.requests[0]["body"]["messages"][0] == {"role": "system", "content": "be kind"}
        assert "forbidden" not in server.client().get("/api/export").text
        endpoint.steps.append(("refuse", 400))
        refused = program.post("/agent", json={"question": "hello"})
        assert (refused.status_code, "scripted" in refused.text) == (503, True)


def test_what_cannot_be_asked_is_said(server: ChatServer) -> None:
    program = server.program()
    for body, words in (
        ({"question": " "}, "empty"),
        ({"questoin": "hello"}, "questoin"),
        ({"question": "hello", "chat_history": [1]}, "chat_history[0]"),
        ({"question": "hello", "temperature": "warm"}, "temperature"),
        ({"question": "hello", "conversation": "no"}, "conversation must have 8"),
    ):
        answer = program.post("/agent", json=body)
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (400, True), answer.text
    assert server.client().post("/agent", json={"question": "hello"}).status_code == 401


def test_without_the_package_the_route_says_how_to_get_it(server: ChatServer, monkeypatch) -> None:
    monkeypatch.setattr("chat_code.agent_api.installed", lambda: False)
    answer = server.program().post("/agent", json={"question": "hello"})
    assert (answer.status_code, "pip install agent-framework-core" in answer.text) == (404, True)


def test_one_file_imports_the_framework() -> None:
    folders = ("chat_code", "phi_assets", "evaluation_code", "flows", "serving_code")
    found = [path for folder in folders for path in (PROJECT / folder).rglob("*.py")]
    words = ("import agent_framework", "from agent_framework")
    assert [path.name for path in found if any(word in path.read_text(encoding="utf-8") for word in words)] == [
        "agent.py"
    ]
