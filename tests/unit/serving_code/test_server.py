"""The middleware of every request: key, limits and ids; each refusal says what to do."""

import json
import logging
import socket
import threading

import httpx
import pytest

from serving_code.limits import Limits
from serving_code.service import Identity
from tests.unit.serving_code.conftest import KEY, running_server


@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {KEY}", "Bearer", "Bearer \u00e9".encode("latin-1")])
@pytest.mark.parametrize("path", ["/score", "/v1/chat/completions"])
def test_without_the_right_key_a_request_is_a_401_that_says_how_to_send_it(server, header, path):
    headers = {} if header is None else {"Authorization": header}

    answer = httpx.post(server.url + path, json={}, headers=headers, trust_env=False)

    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.json()["error"]["message"]
    assert answer.headers["www-authenticate"] == "Bearer"
    assert KEY not in answer.text


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz"])
def test_help_and_health_need_no_key(server, path):
    answer = httpx.get(server.url + path, trust_env=False)

    assert answer.status_code == 200
    assert answer.headers["azureml-model-deployment"] == "blue"


def test_a_server_without_a_key_asks_none(endless_model):
    with running_server(endless_model, key=None) as open_server:
        answer = httpx.post(open_server.url + "/score", json={"input_data": ["hello"]}, trust_env=False)

    assert answer.status_code == 200


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"', b"\xff\xfe", b"", b"[" * 100_000])
@pytest.mark.parametrize("path", ["/score", "/v1/chat/completions"])
def test_a_body_that_is_no_json_object_is_a_400(server, body, path):
    answer = server.client.post(path, content=body)

    assert answer.status_code == 400
    assert "object" in answer.json()["error"]["message"]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_over_the_limit_is_a_413_with_the_limit(server, chunked):
    body = json.dumps({"input_data": ["x" * 1_000_001]}).encode()

    answer = server.client.post("/score", content=iter([body]) if chunked else body)

    assert answer.status_code == 413
    assert "1,000,000 bytes" in answer.json()["error"]["message"]


def test_a_full_house_is_a_429_with_retry_after_and_the_others_are_answered(slow_server, eventually):
    answers = []
    askers = [threading.Thread(target=lambda: answers.append(slow_server.chat(max_tokens=600))) for _ in range(2)]
    for asker in askers:
        asker.start()
    eventually(lambda: slow_server.service.admission.inside == 2)

    refused = slow_server.chat(max_tokens=1)
    refused_stream = slow_server.chat(max_tokens=1, stream=True)
    refused_score = slow_server.score({"input_data": ["hello"]})

    for answer in (refused, refused_stream, refused_score):
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
    for asker in askers:
        asker.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert slow_server.chat(max_tokens=1).status_code == 200


def test_before_the_model_is_loaded_it_is_alive_and_not_ready():
    with running_server(None) as loading:
        assert loading.client.get("/livez").status_code == 200
        for answer in (loading.client.get("/readyz"), loading.chat(), loading.score({"input_data": ["x"]})):
            assert answer.status_code == 503
            assert "/readyz" in answer.json()["error"]["message"]


def test_an_unknown_path_is_a_404_in_the_same_shape(server):
    answer = server.client.get("/v1/embeddings")

    assert answer.status_code == 404
    assert "GET / lists" in answer.json()["error"]["message"]


def test_a_wrong_method_is_a_405_in_the_same_shape(server):
    assert server.client.get("/score").status_code == 405
    assert server.client.get("/score").json()["error"]["type"] == "invalid_request_error"


def test_the_clients_request_id_comes_back_and_a_strange_one_does_not(server):
    assert server.client.get("/livez", headers={"x-request-id": "my-id.7"}).headers["x-request-id"] == "my-id.7"
    strange = server.client.get("/livez", headers={"x-request-id": "a b\u00e9".encode()}).headers["x-request-id"]
    assert len(strange) == 32


def test_a_crash_is_a_500_with_an_id_and_no_details(server, monkeypatch):
    async def crash(*args, **kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(server.service.batcher, "complete", crash)
    answer = server.chat()

    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["error"]["message"]
    assert "secret" not in answer.text


def test_logs_tell_the_request_and_never_its_text(server, caplog, eventually):
    caplog.set_level(logging.INFO, "serving_code")
    server.chat(messages=[{"role": "user", "content": "my secret plan"}], max_tokens=2, metadata={"of": "someone"})

    # The line is written after the last byte of the answer.
    eventually(lambda: any(record.message == "request" for record in caplog.records))
    fields = [getattr(record, "fields", {}) for record in caplog.records]
    [told] = [record for record in fields if record.get("path") == "/v1/chat/completions"]
    assert told["status"] == 200
    assert told["usage"]["completion_tokens"] == 2
    assert {"request_id": told["request_id"], "fields": ["metadata"]} in fields
    assert "secret plan" not in str(fields)
    assert KEY not in str(fields)


def test_a_request_with_many_inputs_is_let_in_when_nobody_else_waits(endless_model):
    with running_server(endless_model, Limits(max_concurrency=2, max_queue=1)) as small:
        answer = small.score({"input_data": ["hello"] * 6, "params": {"max_new_tokens": 2}})

    assert len(answer.json()) == 6


@pytest.mark.parametrize(
    "body",
    [
        '{"messages": [{"role": "user", "content": "\\ud83d"}]}',
        '{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        '{"messages": [{"role": "user", "content": "x"}], "seed": 1.5}',
        '{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1e400}',
    ],
)
def test_strange_values_are_refused_and_not_a_crash(server, body):
    assert server.client.post("/v1/chat/completions", content=body).status_code == 400


def test_a_stream_whose_client_is_gone_before_it_starts_gives_its_place_back(slow_server, caplog, eventually):
    caplog.set_level(logging.INFO, "serving_code")
    host, port = slow_server.url.removeprefix("http://").split(":")
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}], "stream": True, "max_tokens": 2000}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    for _ in range(5):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])

    # Before the server has seen all six, nobody would be inside either.
    eventually(lambda: sum(record.message == "request" for record in caplog.records) == 6)
    eventually(lambda: slow_server.service.admission.inside == 0 and not slow_server.service.batcher._running)
    assert slow_server.chat(max_tokens=1).status_code == 200


@pytest.mark.parametrize("fields", [{"max_concurrency": 0}, {"max_queue": -1}, {"max_body": 0}])
def test_limits_that_let_nobody_in_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Limits(**fields)


@pytest.mark.parametrize("name", ["", "m\u00f6del", "a\nb"])
def test_a_name_that_no_header_can_carry_is_refused(name):
    with pytest.raises(ValueError, match="x-model-name"):
        Identity("blue", name, "1")
