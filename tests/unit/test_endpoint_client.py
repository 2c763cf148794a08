"""The client of the endpoint: what Azure's answers mean, what is asked again, and by which way."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from phi_assets import endpoint_client
from phi_assets.endpoint_client import NoAnswer

GOOD = (200, {}, {"id": "one", "choices": [{"message": {"content": "Hello!"}, "finish_reason": "stop"}]})
ASKED = [{"role": "user", "content": "Hello"}]


@contextmanager
def endpoint(*answers: tuple[int, dict[str, str], object]) -> Iterator[tuple[str, list[str]]]:
    """An address that gives these answers in turn, the last one for ever; and the paths that were asked."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = answers[min(len(paths), len(answers) - 1)]
            paths.append(self.path)
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", paths
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT", 0.01)


def refusal(*answers: tuple[int, dict[str, str], object]) -> tuple[NoAnswer, int]:
    """What came of it, and how often it was asked."""
    with endpoint(*answers) as (address, paths), pytest.raises(NoAnswer) as caught:
        endpoint_client.chat(address, "key", ASKED)
    return caught.value, len(paths)


def test_a_424_is_the_containers_own_status_with_its_own_words():
    headers = {"ms-azureml-model-error-statuscode": "400", "azureml-model-deployment": "blue"}
    error, asked = refusal((424, headers, {"error": {"message": "messages is empty"}}))
    assert (error.status, error.deployment, asked) == (400, "blue", 1)
    assert "answered 400: messages is empty" in str(error)


def test_a_container_that_is_gone_is_not_asked_again():
    error, asked = refusal((424, {"ms-azureml-model-error-statuscode": "502"}, "nobody is there"))
    assert (error.status, asked) == (502, 1)


def test_a_time_out_says_what_to_do():
    error, asked = refusal((408, {}, "upstream request timeout"))
    assert "ask for fewer tokens" in str(error)
    assert (error.status, asked) == (408, 1)


@pytest.mark.parametrize("full", [(429, {}, "full"), (424, {"ms-azureml-model-error-statuscode": "429"}, "full")])
def test_a_full_house_is_asked_again_and_given_up_in_the_end(full):
    with endpoint(full, full, GOOD) as (address, paths):
        assert endpoint_client.chat(address, "key", ASKED).text == "Hello!"
    assert len(paths) == 3
    error, asked = refusal(full)
    assert (error.status, asked) == (429, endpoint_client.TRIES)


@pytest.mark.parametrize("body", ["<html>", {"choices": []}, {"id": "x"}, []])
def test_something_else_than_an_answer_is_no_answer(body):
    error, _ = refusal((200, {"azureml-model-deployment": "green"}, body))
    assert "an invalid body" in str(error)
    assert error.deployment == "green"


def test_this_machines_own_address_is_never_asked_by_a_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with endpoint(GOOD) as (address, _):
        assert endpoint_client.chat(address, "key", ASKED).text == "Hello!"


def test_a_key_is_in_no_error():
    error, _ = refusal((401, {}, {"error": {"message": "the key is wrong"}}))
    assert error.status == 401
    assert "Bearer" not in str(error)


@pytest.mark.parametrize(("seconds", "limit"), [(2.0, 180.0), (1e6, None)])
def test_an_answer_in_time_or_without_a_limit_passes(seconds, limit):
    endpoint_client.require_in_time(
        endpoint_client.Answer("Hi", "1", "blue", "m", "1", tokens=32, seconds=seconds), "blue", limit
    )


def test_a_deployment_that_is_too_slow_for_the_endpoint_is_refused_with_what_would_do():
    answer = endpoint_client.Answer("Hi", "1", "blue", "m", "1", tokens=32, seconds=64.0)

    with pytest.raises(
        NoAnswer, match=r"256 s for an answer of 128 tokens.*after 180 s.*larger machine.*at most 90 tokens"
    ):
        endpoint_client.require_in_time(answer, "blue", 180.0)


def test_length_and_time_of_an_answer_are_known():
    status, headers, body = GOOD
    with endpoint((status, headers, {**body, "usage": {"completion_tokens": 3}})) as (address, _):
        answer = endpoint_client.chat(address, "key", ASKED)

    assert answer.tokens == 3
    assert answer.seconds > 0
