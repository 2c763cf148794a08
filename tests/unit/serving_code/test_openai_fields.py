"""What OpenAI's own client can ask for: models, choices, log probabilities, penalties, completions, JSON."""

import json
import math

import openai
import pytest

from serving_code.limits import Limits
from tests.unit.serving_code.conftest import KEY, running_server

MESSAGES = [{"role": "user", "content": "How do I reset the pump?"}]


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def test_a_model_is_found_by_its_names_and_another_is_a_404(client):
    assert client.models.retrieve("tiny").id == "tiny"
    assert client.models.retrieve("tiny:3").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="serves 'tiny'"):
        client.models.retrieve("gpt-5")
    for ask in (
        lambda: client.chat.completions.create(model="gpt-5", messages=MESSAGES),
        lambda: client.completions.create(model="gpt-5", prompt="Hello"),
    ):
        with pytest.raises(openai.NotFoundError) as refused:
            ask()
        assert refused.value.code == "model_not_found"
    assert client.chat.completions.create(model="blue", messages=MESSAGES, max_tokens=1).model == "tiny"


def test_without_settings_an_answer_is_drawn_as_openais_are(lively_model):
    with running_server(lively_model) as running:
        texts = {running.chat(max_tokens=12).json()["choices"][0]["message"]["content"] for _ in range(6)}

    assert len(texts) > 1
    assert Limits().default_temperature == 1.0


def test_n_choices_are_drawn_apart_and_the_prompt_counts_once(client, server):
    ask = {"model": "tiny", "messages": MESSAGES, "n": 3, "temperature": 1.2, "seed": 5, "max_tokens": 12}
    answer = client.chat.completions.create(**ask)
    one = client.chat.completions.create(**{**ask, "n": 1})
    streamed: dict[int, str] = {0: "", 1: "", 2: ""}
    reasons = {}
    for chunk in client.chat.completions.create(**ask, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason

    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert texts[0] == one.choices[0].message.content
    assert answer.usage.prompt_tokens == one.usage.prompt_tokens
    assert list(streamed.values()) == texts
    assert set(reasons) == {0, 1, 2}
    assert None not in reasons.values()


def test_log_probabilities_come_with_each_token(client):
    ask = {"model": "tiny", "messages": MESSAGES, "max_tokens": 8, "logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**ask)
    streamed = [
        token
        for chunk in client.chat.completions.create(**ask, stream=True)
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content
    ]

    content = whole.choices[0].logprobs.content
    assert len(content) == whole.usage.completion_tokens
    assert [token.token for token in content] == [token.token for token in streamed]
    for token in content:
        assert token.logprob <= 0
        assert [each.logprob for each in token.top_logprobs] == sorted(
            (each.logprob for each in token.top_logprobs), reverse=True
        )
        assert token.top_logprobs[0].token == token.token  # greedy
        assert sum(math.exp(each.logprob) for each in token.top_logprobs) <= 1.0001


def test_a_bias_forbids_a_token_and_penalties_end_a_repetition(endless_model):
    with running_server(endless_model, Limits(default_temperature=0.0)) as running:

        def text(**fields) -> str:
            return running.chat(max_tokens=8, **fields).json()["choices"][0]["message"]["content"]

        first = running.chat(max_tokens=1, logprobs=True).json()["choices"][0]["logprobs"]["content"][0]
        assert text() == first["token"] * 8
        engine, _ = running.service.ready()
        [newline] = engine.encode_text("\n")
        assert "\n" not in text(logit_bias={str(newline): -100})
        assert text(frequency_penalty=2.0) != text()
        assert text(presence_penalty=2.0) != text()
        assert text(repetition_penalty=5.0) != text()
        unknown = running.chat(logit_bias={"999999": 1})
        assert unknown.status_code == 400
        assert "0 to" in unknown.json()["error"]["message"]


def test_one_token_is_left_by_top_k_and_by_min_p(server):
    greedy = server.chat(max_tokens=10, temperature=0).json()["choices"]

    assert server.chat(max_tokens=10, temperature=1.5, top_k=1).json()["choices"] == greedy
    assert server.chat(max_tokens=10, temperature=1.5, min_p=1.0).json()["choices"] == greedy
    assert server.chat(max_tokens=10, temperature=1.5, top_k=-1, seed=2).json()["choices"] != greedy


def test_completions_continue_texts_and_tokens(client, server):
    ask = {"model": "tiny", "max_tokens": 6, "temperature": 0}
    one = client.completions.create(prompt="Press the button", **ask)
    tokens = server.service.ready()[0].encode_text("Press the button")
    several = client.completions.create(prompt=["Press the button", "hello"], n=2, logprobs=2, **ask)
    streamed = "".join(
        chunk.choices[0].text for chunk in client.completions.create(prompt="Press the button", stream=True, **ask)
    )

    assert client.completions.create(prompt=tokens, **ask).choices[0].text == one.choices[0].text == streamed
    texts = [choice.text for choice in several.choices]
    assert texts[:2] == [one.choices[0].text] * 2
    assert texts[2] != texts[0]
    assert several.usage.prompt_tokens < 2 * len(tokens) + 10
    assert len(several.choices[0].logprobs.tokens) == len(several.choices[0].logprobs.top_logprobs)
    assert one.id.startswith("cmpl-")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": [10**6]}, "prompt"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"prompt": "a", "echo": True}, "echo"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 2}, "best_of"),
        ({"prompt": "a", "logprobs": 6}, "logprobs"),
    ],
)
def test_a_completion_that_cannot_be_is_a_400_that_names_the_field(server, fields, param):
    answer = server.client.post("/v1/completions", json=fields)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(param)


def test_the_second_turn_reads_only_what_is_new_and_another_caller_reads_all(server):
    messages = [{"role": "user", "content": "Where is the manual kept? " * 30}]
    first = server.chat(messages=messages, max_tokens=8, user="ann").json()
    turns = [*messages, first["choices"][0]["message"], {"role": "user", "content": "And the pump?"}]

    def cached(user: str | None) -> int:
        answer = server.chat(messages=turns, max_tokens=2, user=user).json()
        return answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert cached("ann") >= first["usage"]["prompt_tokens"]
    assert cached("bob") == 0
    assert cached(None) == 0


def test_json_follows_a_schema_and_an_impossible_one_is_refused(lively_model):
    pytest.importorskip("llguidance")
    schema = {
        "type": "object",
        "properties": {"reset": {"type": "boolean"}, "part": {"enum": ["pump", "lamp"]}},
        "required": ["reset", "part"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    with running_server(lively_model) as running:
        for seed in range(5):
            choice = running.chat(response_format=wanted, max_tokens=200, seed=seed).json()["choices"][0]
            assert choice["finish_reason"] == "stop"
            found = json.loads(choice["message"]["content"])
            assert set(found) == {"reset", "part"}
            assert found["part"] in ("pump", "lamp")
        free = running.chat(response_format={"type": "json_object"}, max_tokens=300, temperature=0).json()["choices"][0]
        assert free["message"]["content"].lstrip().startswith("{")
        wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "wizard"}}}
        refused = running.chat(response_format=wrong)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "response_format"
