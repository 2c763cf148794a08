"""GET /metrics in Prometheus' format, and the limits that a client meets: web pages, slow bodies, slow readers."""

import json
import re
import socket

import httpx
import pytest

from serving_code.limits import Limits
from serving_code.service import Service
from tests.unit.serving_code.conftest import KEY, running_server

SAMPLE = re.compile(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [0-9.e+-]+')


def test_metrics_count_requests_tokens_and_times(endless_model):
    with running_server(endless_model, Limits(default_temperature=0.0)) as running:
        running.chat(max_tokens=5)
        running.chat(max_tokens=3, stream=True)
        running.chat(max_tokens=0)
        running.client.get("/a/path/of/a/stranger")
        answer = running.client.get("/metrics")
        refused = httpx.get(f"{running.url}/metrics", trust_env=False)

    lines = answer.text.splitlines()
    assert refused.status_code == 401
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert all(line.startswith("# TYPE ") or SAMPLE.fullmatch(line) for line in lines)
    assert 'phi_requests_total{path="/v1/chat/completions",status="200"} 2' in lines
    assert 'phi_requests_total{path="/v1/chat/completions",status="400"} 1' in lines
    assert "stranger" not in answer.text
    assert 'phi_tokens_total{kind="completion"} 8' in lines
    assert "phi_first_token_seconds_count 2" in lines
    assert "phi_answers_running 0" in lines


def test_a_web_page_may_call_only_when_a_setting_names_it(endless_model, server):
    asks = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
    assert httpx.options(f"{server.url}/v1/chat/completions", headers=asks, trust_env=False).status_code in (401, 405)

    with running_server(endless_model, cors_origins=("https://chat.example",)) as running:
        url = f"{running.url}/v1/chat/completions"
        allowed = httpx.options(url, headers=asks, trust_env=False)
        other = httpx.options(url, headers={**asks, "Origin": "https://other.example"}, trust_env=False)
        unkeyed = httpx.post(url, json={}, headers={"Origin": "https://chat.example"}, trust_env=False)

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://chat.example"
    assert other.status_code == 400
    assert unkeyed.status_code == 401


@pytest.mark.parametrize("path", ["/score", "/v1/chat/completions", "/v1/completions"])
def test_a_body_that_does_not_arrive_is_a_408(endless_model, path):
    with running_server(endless_model, Limits(body_seconds=0.3)) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 50\r\n\r\n{{"
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_a_client_that_does_not_read_loses_its_answer_and_its_place(endless_model, eventually, monkeypatch):
    # A stream of a tiny model fits into the buffers of the system, so that each event is made large here.
    monkeypatch.setattr(Service, "store", lambda *_: None)
    monkeypatch.setattr("serving_code.openai_api.sse", lambda value: f"data: {json.dumps(value)}{' ' * 2**18}\n\n")
    with running_server(endless_model, Limits(write_seconds=0.5)) as running:
        host, port = running.url.removeprefix("http://").split(":")
        body = {"messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 1500, "temperature": 0}
        content = json.dumps(body).encode()
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            eventually(lambda: running.service.admission.inside == 1)
            eventually(lambda: running.service.admission.inside == 0)
            batcher = running.service.batcher
            assert batcher is not None
            eventually(lambda: not batcher.running)
        assert running.service.metrics.tokens["completion"] == 0
