"""One whole turn against a real HTTP server: its requests, answers and error messages."""

import ast
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from chat_code import endpoint as chat
from chat_code import endpoint_errors as errors
from chat_code import turn
from chat_code.endpoint import Endpoint, Sampling
from chat_code.turn import Answer, TurnSettings
from phi_assets.project import PROJECT
from phi_assets.prompt_flow.package import TURN
from tests.support.scripted_endpoint import ScriptedEndpoint, endpoint_server

__all__ = ["endpoint_server"]
KEY = "the-key-of-the-endpoint-0123456789"


@pytest.fixture
def endpoint(endpoint_server: ScriptedEndpoint) -> ScriptedEndpoint:
    endpoint_server.requests.clear()
    endpoint_server.scripted.clear()
    return endpoint_server


def answer(
    question: Any,
    history: Sequence[Any] = (),
    *,
    url: str,
    sampling: Sampling | None = None,
    first_piece_s: float = 180.0,
) -> Answer:
    settings = TurnSettings(sampling=sampling or Sampling())
    return turn.answer(question, history, Endpoint(url, lambda: KEY, first_piece_s=first_piece_s), settings)


@pytest.mark.guide("chat-history")
def test_the_endpoint_gets_the_history_and_then_the_question(endpoint):
    history = [
        {"role": "system", "content": "Be short."},
        {"inputs": {"question": "Who are you?"}, "outputs": {"answer": "Phi."}},
    ]
    given = answer("And you?", history, url=endpoint.address, sampling=Sampling(9, 0.5))
    assert given.text == "4 messages, the last: And you?"
    request = endpoint.requests[0]
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == f"Bearer {KEY}"
    assert request["body"] == {
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Who are you?"},
            {"role": "assistant", "content": "Phi."},
            {"role": "user", "content": "And you?"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "truncation": "auto",
    }


def test_an_answer_says_which_request_deployment_and_model_version_gave_it(endpoint):
    body = b'{"id": "c-1", "model": "phi-support", "choices": [{"message": {"content": "yes"}}]}'
    headers = {"x-request-id": "r-1", "azureml-model-deployment": "green", "x-model-version": "3"}
    endpoint.scripted.append((200, headers, body))
    served = answer("hello", url=endpoint.address).served
    assert (served.answer_id, served.deployment) == ("c-1", "green")
    assert (served.model, served.model_version) == ("phi-support", "3")


@pytest.mark.parametrize("ending", ["", "/", "/score", "/v1", "/v1/", "/v1/chat/completions"])
def test_every_form_of_an_endpoints_address_leads_to_its_chat_route(ending):
    assert chat.chat_url(f"https://host.example{ending}") == "https://host.example/v1/chat/completions"


def test_an_address_without_a_scheme_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'localhost:8000' is not the address.*http://"):
        chat.chat_url("localhost:8000")


@pytest.mark.parametrize("question", ["", "  \n", None, 5, ["hello"]])
def test_an_empty_question_is_refused_before_the_endpoint_is_asked(endpoint, question):
    with pytest.raises(ValueError, match="'question'"):
        answer(question, url=endpoint.address)
    assert endpoint.requests == []


@pytest.mark.parametrize(
    "entry",
    [
        "hello",
        {},
        {"inputs": "a", "outputs": "b"},
        {"inputs": {"question": "a"}, "outputs": {"answer": 5}},
        {"role": 5, "content": "a"},
        {"role": "user"},
    ],
)
def test_a_history_entry_of_another_shape_is_refused_with_its_position(entry):
    with pytest.raises(ValueError, match=r"chat_history\[1\].*each entry is"):
        turn.messages_of([{"role": "user", "content": "fine"}, entry])


@pytest.mark.parametrize(
    "failed",
    [
        [{"inputs": {"question": "a"}}],
        [{"inputs": {"question": "a"}, "outputs": None}],
        [{"inputs": {"question": "a"}, "outputs": {"answer": None}}],
        [{"inputs": {"question": "a"}, "outputs": {"answer": ""}}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}],
    ],
)
def test_a_turn_that_failed_is_left_out_of_the_history(failed):
    good = [{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]
    assert turn.messages_of([*good, *failed, *good]) == good * 2
    assert turn.messages_of([*failed, *good]) == good


def test_parts_and_names_of_roles_are_left_to_the_endpoint():
    said = {"role": "Human", "content": [{"type": "text", "text": "a"}]}
    assert turn.messages_of([said]) == [said]


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "change the question"),
        (401, "materialise endpoint_connection again"),
        (403, "materialise endpoint_connection again"),
        (404, "materialise online_deployment"),
        (413, "send a shorter chat_history"),
        (422, "change the question"),
        (500, "look in the deployment's log"),
        (502, "materialise online_deployment"),
        (418, "look in the deployment's log"),
    ],
)
def test_an_error_of_the_endpoint_says_what_it_said_and_what_to_do(endpoint, status, advice):
    endpoint.refuse(status, "the reason.", x_request_id="r-9")
    with pytest.raises(errors.EndpointRefused) as refused:
        answer("hello", url=endpoint.address)
    message = str(refused.value)
    assert f"answered {status}: the reason; " in message
    assert advice in message
    assert "[request r-9]" in message
    assert KEY not in message


def test_a_failure_that_azure_wraps_in_424_is_explained_by_the_containers_own_status(endpoint):
    endpoint.refuse(424, "too long", ms_azureml_model_error_statuscode="413")
    with pytest.raises(errors.EndpointRefused, match=r"424 \(from the model's server: 413\): too long; .*shorter"):
        answer("hello", url=endpoint.address)


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_busy_container_behind_azure_is_asked_again(endpoint, status):
    endpoint.refuse(424, "full", ms_azureml_model_error_statuscode=status, retry_after="0.1")
    assert answer("hello", url=endpoint.address).text.endswith("hello")
    assert len(endpoint.requests) == 2


def test_an_answer_that_took_longer_than_azure_allows_asks_for_fewer_tokens(endpoint):
    endpoint.refuse(408, "upstream request timeout")
    with pytest.raises(errors.EndpointRefused, match=r"408: upstream request timeout; .*max_tokens"):
        answer("hello", url=endpoint.address)
    assert len(endpoint.requests) == 1


def test_a_busy_endpoint_is_asked_again_when_it_says(endpoint):
    endpoint.refuse(429, retry_after="0.1")
    endpoint.refuse(503, retry_after="0.1")
    assert answer("hello", url=endpoint.address).text.endswith("hello")
    assert len(endpoint.requests) == 3


def test_an_endpoint_that_stays_busy_is_left_alone_after_two_retries(endpoint):
    for _ in range(5):
        endpoint.refuse(429, "full", retry_after="0.1")
    with pytest.raises(errors.EndpointRefused, match="429: full; the endpoint is busy"):
        answer("hello", url=endpoint.address)
    assert len(endpoint.requests) == 3


def test_an_error_that_asking_again_cannot_mend_is_not_asked_again(endpoint):
    endpoint.refuse(401)
    with pytest.raises(errors.EndpointRefused):
        answer("hello", url=endpoint.address)
    assert len(endpoint.requests) == 1


def test_an_address_where_nothing_answers_says_to_start_the_endpoint():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(errors.EndpointUnreachable, match=rf"nothing answers at http://127.0.0.1:{port}/.*`make run`"):
        answer("hello", url=f"http://127.0.0.1:{port}")


def test_an_endpoint_that_never_answers_is_given_up_with_the_time_that_passed():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(errors.EndpointUnreachable, match=r"no answer .* within 0.2 s .*max_tokens"):
            answer("hello", url=f"http://127.0.0.1:{silent.getsockname()[1]}", first_piece_s=0.2)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": 5}}]}'])
def test_another_server_at_the_address_is_recognised(endpoint, body):
    endpoint.scripted.append((200, {}, body))
    with pytest.raises(errors.EndpointRefused, match="not a chat completion"):
        answer("hello", url=endpoint.address)


def test_the_turn_needs_nothing_but_httpx_and_the_files_that_are_packaged_with_the_flow(tmp_path):
    for path in TURN:
        tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        ours = {f"{name.replace('.', '/')}.py" for name in imported if name.startswith("chat_code")}
        assert ours <= set(TURN)
    code = "import sys, chat_code.turn; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout
    assert not {"starlette", "uvicorn", "phi_assets", "dagster"} & set(ast.literal_eval(loaded))
