"""POST /score by the guide's contract: returns a list of texts for a list of inputs, and names unknown fields."""

import pytest

QUESTION = "How do I reset the pump?"
GUIDE_PARAMS = {"temperature": 0.7, "max_new_tokens": 12, "do_sample": True, "return_full_text": True}
GREEDY = {"max_new_tokens": 12, "return_full_text": False}


@pytest.mark.guide("integrate")
def test_the_guides_own_request_is_answered_with_the_full_text(server):
    answer = server.score({"input_data": [QUESTION], "params": GUIDE_PARAMS})

    assert answer.status_code == 200
    assert isinstance(answer.json(), list)
    assert answer.json()[0].startswith(QUESTION)
    assert len(answer.json()[0]) > len(QUESTION) + 1
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert answer.headers["x-request-id"]


def test_without_the_full_text_the_answer_stands_alone(server):
    [alone] = server.score({"input_data": [QUESTION], "params": GREEDY}).json()
    [full] = server.score({"input_data": [QUESTION], "params": GREEDY | {"return_full_text": True}}).json()

    assert full == f"{QUESTION}\n{alone}"


def test_a_text_is_one_user_turn_and_agrees_with_chat_completions(server):
    [answer] = server.score({"input_data": [QUESTION], "params": GREEDY}).json()

    assert answer == server.chat(max_tokens=12).json()["choices"][0]["message"]["content"]


def test_inputs_are_answered_in_their_order(server):
    questions = [QUESTION, "hello", "Where?", "The lamp is red."]

    together = server.score({"input_data": questions, "params": GREEDY}).json()

    assert together == [server.score({"input_data": [text], "params": GREEDY}).json()[0] for text in questions]


TURNS = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": QUESTION},
]


@pytest.mark.parametrize(
    "body",
    [
        {"input_data": [TURNS], "params": GREEDY},
        {"input_data": TURNS, "params": GREEDY},
        {"input_data": {"input_string": [TURNS]}, "params": GREEDY},
        {"input_data": {"input_string": TURNS, "parameters": GREEDY}},
    ],
)
def test_a_conversation_is_answered_in_every_shape(server, body):
    expected = server.chat(messages=TURNS, max_tokens=12).json()["choices"][0]["message"]["content"]

    assert server.score(body).json() == [expected]


def test_sampling_with_a_seed_repeats(server):
    params = {"do_sample": True, "temperature": 1.5, "seed": 4, "max_new_tokens": 20}

    assert (
        server.score({"input_data": [QUESTION], "params": params}).json()
        == server.score({"input_data": [QUESTION], "params": params}).json()
    )


def test_do_sample_false_is_greedy_whatever_the_temperature(server):
    greedy = server.score({"input_data": [QUESTION], "params": GREEDY}).json()
    told = server.score({"input_data": [QUESTION], "params": GREEDY | {"do_sample": False, "temperature": 2.0}}).json()

    assert told == greedy


@pytest.mark.parametrize(
    ("body", "param", "hint"),
    [
        ({"input_data": ["x"], "params": {"temprature": 1.0}}, "params.temprature", "'temperature'"),
        ({"input_data": ["x"], "params": {"max_tokens": 1}}, "params.max_tokens", "'max_new_tokens'"),
        ({"input_data": ["x"], "parms": {}}, "parms", "'params'"),
        ({"input_data": {"inputs": ["x"]}}, "input_data.inputs", "input_string"),
        ({"input_data": [[{"role": "user", "content": "x", "name": "y"}]]}, "input_data[0][0].name", "valid are"),
        ({"inputs": ["x"]}, "inputs", "'input_data'"),
        ({"params": {}}, "input_data", "missing"),
        ({"input_data": []}, "input_data", "at least one"),
        ({"input_data": 3}, "input_data", "list"),
        ({"input_data": [3]}, "input_data[0]", "text"),
        ({"input_data": ["ok", "  "]}, "input_data[1]", "text"),
        ({"input_data": [["x"]]}, "input_data[0][0]", "not a turn"),
        ({"input_data": [[{"role": "wizard", "content": "x"}]]}, "input_data[0][0].role", "assistant"),
        ({"input_data": [[{"role": "user", "content": 1}]]}, "input_data[0][0].content", "string"),
        ({"input_data": ["x"] * 65}, "input_data", "at most 64"),
        ({"input_data": ["x"], "params": []}, "params", "object"),
        ({"input_data": ["x"], "params": {"max_new_tokens": 0}}, "params.max_new_tokens", "greater"),
        ({"input_data": ["x"], "params": {"max_new_tokens": "many"}}, "params.max_new_tokens", "integer"),
        ({"input_data": ["x"], "params": {"do_sample": "yes"}}, "params.do_sample", "boolean"),
        ({"input_data": ["x"], "params": {"temperature": 9}}, "params.temperature", "less"),
        ({"input_data": ["hello " * 3000]}, "input_data", "2048"),
    ],
)
def test_a_wrong_request_is_a_422_that_names_the_field_and_what_is_valid(server, body, param, hint):
    answer = server.score(body)

    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == param
    assert hint in answer.json()["error"]["message"]
