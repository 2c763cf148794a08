"""The chat's own door for other programs, as OpenAI's client sees it."""

from pathlib import Path

import openai
import pytest

from chat_code.content_filter import WordList
from chat_code.turn import TurnSettings
from chat_code.who import program_key
from tests.support.chat_server import SECRET, ChatServer, StreamingEndpoint, chat_server


def _client(server: ChatServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key=program_key(SECRET), max_retries=0)


def test_whole_and_streamed_answers(server: ChatServer, endpoint: StreamingEndpoint) -> None:
    with _client(server) as client:
        assert [model.id for model in client.models.list()] == ["tuned", "base"]
        assert client.models.retrieve("base").id == "base"
        whole = client.chat.completions.create(
            model="tuned", messages=[{"role": "user", "content": "hello there"}], max_tokens=7
        )
        assert whole.choices[0].message.content == "You said: hello there"
        assert (whole.choices[0].finish_reason, whole.system_fingerprint) == ("stop", "blue/phi:3")
        assert whole.usage
        assert whole.usage.completion_tokens == 4
        assert endpoint.requests[0]["body"]["max_tokens"] == 7
        stream = client.chat.completions.create(
            model="base",
            messages=[{"role": "user", "content": [{"type": "text", "text": "again"}]}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "You said: again"
        assert chunks[-1].usage
        assert chunks[-1].usage.completion_tokens == 3
    page = server.client()
    assert page.get("/api/conversations").json()["conversations"] == []  # nothing is kept


def test_a_conversation_is_kept_when_the_program_asks_for_it(server: ChatServer, endpoint: StreamingEndpoint) -> None:
    with _client(server) as client:
        for question in ("first", "second"):
            client.chat.completions.create(
                model="tuned",
                messages=[{"role": "user", "content": question}],
                store=True,
                metadata={"conversation": "from-a-program"},
            )
    contents = [turn["content"] for turn in endpoint.requests[-1]["body"]["messages"]]
    assert contents == ["first", "You said: first", "second"]
    messages = server.client().get("/api/conversations/from-a-program").json()["messages"]
    assert [message["content"] for message in messages] == [*contents, "You said: second"]


def test_errors_are_openais(server: ChatServer, endpoint: StreamingEndpoint) -> None:
    ask = [{"role": "user", "content": "hello"}]
    with _client(server) as client:
        with pytest.raises(openai.NotFoundError, match="no model"):
            client.chat.completions.create(model="gpt-4", messages=ask)  # type: ignore[arg-type]
        with pytest.raises(openai.BadRequestError, match="tools"):
            client.chat.completions.create(model="tuned", messages=ask, tools=[{"type": "function"}])  # type: ignore[arg-type,list-item]
        with pytest.raises(openai.BadRequestError, match="last message"):
            client.chat.completions.create(model="tuned", messages=[{"role": "assistant", "content": "x"}])
        endpoint.steps.append(("refuse", 500))
        with pytest.raises(openai.InternalServerError, match="scripted"):
            client.chat.completions.create(model="tuned", messages=ask)  # type: ignore[arg-type]
        endpoint.steps.append(("cut", 2))
        with pytest.raises(openai.APIError, match="closed the connection"):
            list(client.chat.completions.create(model="tuned", messages=ask, stream=True))  # type: ignore[arg-type]
    stranger = openai.OpenAI(base_url=f"{server.address}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError, match="phi chat --key"):
        stranger.models.list()


def test_the_filter_holds_here_too(endpoint: StreamingEndpoint, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("forbidden", encoding="utf-8")
    settings = TurnSettings(content_filter=WordList(words))
    served = chat_server(tmp_path / "h.sqlite", {"tuned": endpoint.address}, settings=settings)
    with served as server, _client(server) as client, pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="tuned", messages=[{"role": "user", "content": "forbidden"}])
