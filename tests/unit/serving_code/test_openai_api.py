"""OpenAI's own Python client against a real server, with whole and streamed answers."""

import json

import httpx
import openai
import pytest

from tests.unit.serving_code.conftest import KEY

MESSAGES = [{"role": "user", "content": "How do I reset the pump?"}]


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def chunks_of(text: str) -> list[dict]:
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def test_the_client_gets_an_answer_that_says_who_gave_it(client):
    raw = client.chat.completions.with_raw_response.create(model="tiny", messages=MESSAGES, max_tokens=9)
    answer = raw.parse()

    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 9
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 9
    assert (answer.model, answer.system_fingerprint) == ("tiny", "blue/tiny:3")
    assert answer.id == f"chatcmpl-{raw.headers['x-request-id']}"
    assert raw.headers["azureml-model-deployment"] == "blue"
    assert (raw.headers["x-model-name"], raw.headers["x-model-version"]) == ("tiny", "3")


def test_a_streamed_answer_is_the_whole_answer_in_pieces(client):
    whole = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=40)
    stream = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=40, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert set(reasons[:-1]) == {None}
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_has_no_usage_unless_asked_and_ends_with_done(server):
    answer = server.chat(stream=True, max_tokens=3)

    assert answer.headers["content-type"].startswith("text/event-stream")
    chunks = chunks_of(answer.text)
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)


def test_the_client_lists_the_served_model(client):
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_text_parts_are_read_as_one_text(server):
    parts = [{"type": "text", "text": text} for text in ("How do I reset", "the pump?")]

    in_parts = server.chat(messages=[{"role": "user", "content": parts}], max_tokens=12).json()
    as_one = server.chat(messages=[{"role": "user", "content": "How do I reset\nthe pump?"}], max_tokens=12).json()

    assert in_parts["choices"] == as_one["choices"]


def test_a_failed_turn_in_the_history_does_not_change_the_answer(server):
    failed = [{"role": "user", "content": "Are you there?"}, {"role": "assistant", "content": ""}]

    after_it = server.chat(messages=[*failed, *MESSAGES], max_tokens=12).json()

    assert after_it["choices"] == server.chat(max_tokens=12).json()["choices"]


@pytest.mark.parametrize("as_list", [True, False])
def test_a_stop_string_ends_the_answer_before_it(server, as_list):
    free = server.chat(max_tokens=20).json()["choices"][0]["message"]["content"]
    stop = free[6:9]

    choice = server.chat(max_tokens=20, stop=[stop] if as_list else stop).json()["choices"][0]

    assert choice["message"]["content"] == free[: free.index(stop)]
    assert choice["finish_reason"] == "stop"


def test_the_same_seed_gives_the_same_answer(server):
    first, second, other = (
        server.chat(temperature=1.5, seed=seed, max_tokens=20).json()["choices"] for seed in (1, 1, 2)
    )

    assert first == second
    assert first != other


def test_max_completion_tokens_wins_over_max_tokens(server):
    usage = server.chat(max_tokens=9, max_completion_tokens=4).json()["usage"]

    assert usage["completion_tokens"] == 4


def test_nulls_and_unknown_fields_are_ignored(server):
    plain = server.chat(max_tokens=5).json()
    answer = server.chat(
        max_tokens=5, user="u", parallel_tool_calls=True, store=None, tools=None, stop=None, n=None, seed=None,
        temperature=None, top_p=None, stream=None, stream_options=None, max_completion_tokens=None, logprobs=False,
        response_format={"type": "text"}, tool_choice="none", modalities=["text"], invented_by_a_test={"a": 1},
    )  # fmt: skip

    assert answer.status_code == 200
    assert answer.json()["choices"] == plain["choices"]


def test_a_developer_turn_is_a_system_turn(server):
    def ask(role):
        return server.chat(messages=[{"role": role, "content": "Be brief."}, *MESSAGES], max_tokens=8).json()

    assert ask("developer")["choices"] == ask("system")["choices"]


def image(url: str = "https://example.org/cat.png") -> list[dict]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"n": 17}, "n"),
        ({"n": 0}, "n"),
        ({"top_logprobs": 2}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": "much"}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"logit_bias": {"hello": 1}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"messages": image()}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "4"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 4}]}, "messages[0].content"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages.0"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a", 1]}, "stop.list[str].1"),
    ],
)
def test_what_cannot_be_done_is_a_400_that_names_the_field(server, fields, param):
    answer = server.chat(**fields)

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"].startswith(param.split(".list")[0])


def test_an_empty_stop_string_is_refused(server):
    answer = server.chat(stop="")

    assert answer.status_code == 200
    assert server.chat(stop=["x", ""]).status_code == 400


def test_a_prompt_longer_than_the_context_is_a_400_with_the_numbers(server):
    answer = server.chat(messages=[{"role": "user", "content": "hello " * 3000}])

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert "2048" in answer.json()["error"]["message"]


def test_the_client_raises_its_own_error_for_a_refusal(client):
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(openai.BadRequestError, match="calls no tools"):
        client.chat.completions.create(model="tiny", messages=MESSAGES, tools=tools)


def test_a_failure_in_the_middle_of_a_stream_is_an_error_event(server, monkeypatch, client, eventually):
    batcher = server.service.batcher
    whole = batcher.stream

    async def broken(generation):
        async for progress in whole(generation):
            yield progress
            raise RuntimeError("out of memory")

    monkeypatch.setattr(batcher, "stream", broken)
    with pytest.raises(openai.APIError, match="failed while generating"):
        list(client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True))
    eventually(lambda: server.service.admission.inside == 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(slow_server, eventually, stream):
    body = {"messages": MESSAGES, "max_tokens": 2000, "stream": stream}
    with httpx.Client(base_url=slow_server.url, headers={"Authorization": f"Bearer {KEY}"}) as impatient:
        request = impatient.build_request("POST", "/v1/chat/completions", json=body)
        if stream:
            answer = impatient.send(request, stream=True)
            next(answer.iter_lines())
            answer.close()
        else:
            request.extensions["timeout"] = {"connect": 5, "read": 0.3, "write": 5, "pool": 5}
            with pytest.raises(httpx.ReadTimeout):
                impatient.send(request)

    eventually(lambda: slow_server.service.admission.inside == 0 and not slow_server.service.batcher._running)


def test_turns_that_do_not_fit_are_left_out_and_counted_when_the_client_says_so(server):
    turns = [{"role": role, "content": "word " * 120} for _ in range(60) for role in ("user", "assistant")]
    body = {"messages": [*turns, {"role": "user", "content": "and now?"}], "max_tokens": 4}

    refused = server.chat(**body)
    cut = server.chat(**body, truncation="auto")
    streamed = server.chat(**body, truncation="auto", stream=True, stream_options={"include_usage": True})

    assert refused.status_code == 400
    dropped = cut.json()["usage"]["phi_dropped_turns"]
    assert 0 < dropped < 120
    assert chunks_of(streamed.text)[-1]["usage"]["phi_dropped_turns"] == dropped
    assert "phi_dropped_turns" not in server.chat(max_tokens=4, truncation="auto").json()["usage"]
    assert server.chat(truncation="sometimes").status_code == 400
