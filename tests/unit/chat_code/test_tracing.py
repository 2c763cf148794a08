"""Traces of one question, from the chat's server to the endpoint's: the real servers, and a tiny model."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chat_code.tracing import APPLICATION_INSIGHTS, OpenTelemetryTracing, tracing_to
from chat_code.turn import TurnSettings
from serving_code import tracing as serving_tracing
from tests.support.chat_server import ChatServer, StreamingEndpoint, ask, chat_server
from tests.support.tiny_models import make_tiny_phi3
from tests.support.traced_chat import traced_chat

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `tracing` is not installed")
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

SECRET_WORDS = "pomegranate observatory"


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_phi3(folder)
    return folder


@contextmanager
def traced(model: Path, folder: Path, *, content: bool) -> Iterator[tuple[ChatServer, dict[str, ReadableSpan]]]:
    """Yield a chat over an endpoint with the model, and what has the spans when both have ended."""
    of_chat, of_endpoint = InMemorySpanExporter(), InMemorySpanExporter()
    endpoint = serving_tracing.OpenTelemetryTracing("", exporter=of_endpoint)
    chat = OpenTelemetryTracing("", content=content, exporter=of_chat)
    spans: dict[str, ReadableSpan] = {}
    with traced_chat(model, folder, chat, endpoint, TurnSettings(f"Speak of the {SECRET_WORDS}.")) as server:
        yield server, spans
    spans |= {{"SERVER": "request", "CLIENT": "asked"}[span.kind.name]: span for span in of_chat.get_finished_spans()}
    [spans["engine"]] = of_endpoint.get_finished_spans()


def everything_in(span: ReadableSpan) -> str:
    return json.dumps(json.loads(span.to_json()), ensure_ascii=False)


def require_one_trace(spans: dict[str, ReadableSpan]) -> None:
    request, asked, engine = (spans[name] for name in ("request", "asked", "engine"))
    assert len({span.get_span_context().trace_id for span in (request, asked, engine)}) == 1
    assert request.parent is None
    assert asked.parent
    assert asked.parent.span_id == request.get_span_context().span_id
    assert engine.parent
    assert engine.parent.span_id == asked.get_span_context().span_id


def tokens_of(span: ReadableSpan) -> tuple[Any, Any]:
    attributes = span.attributes or {}
    return attributes.get("gen_ai.usage.input_tokens"), attributes.get("gen_ai.usage.output_tokens")


def test_a_question_of_the_page_is_one_trace_with_tokens_and_without_a_word(tiny_model: Path, tmp_path: Path) -> None:
    with traced(tiny_model, tmp_path, content=False) as (server, spans):
        told = ask(server.client(), "a-conversation", f"Where is the {SECRET_WORDS}?")
    usage = told[-1][1]["message"]["usage"]
    require_one_trace(spans)
    assert tokens_of(spans["asked"]) == tokens_of(spans["engine"]) == tuple(usage.values())[:2]
    assert usage["completion_tokens"] > 0
    assert spans["request"].name == "POST /api/conversations/{conversation}/messages"
    engine, asked = spans["engine"].attributes or {}, spans["asked"].attributes or {}
    assert engine["http.response.status_code"] == 200
    assert 0 < float(str(engine["phi.seconds_to_first_token"])) <= float(str(asked["phi.seconds_to_first_piece"]))
    assert (asked["phi.deployment"], asked["phi.model_version"]) == ("blue", "3")
    said = "".join(data["text"] for name, data in told if name == "delta")
    for span in spans.values():
        assert "pomegranate" not in everything_in(span)
        assert not said.strip() or said.strip() not in everything_in(span)
        assert "a-conversation" not in everything_in(span)


def test_words_are_in_the_chats_span_only_by_the_setting(tiny_model: Path, tmp_path: Path) -> None:
    with traced(tiny_model, tmp_path, content=True) as (server, spans):
        told = ask(server.client(), "a-conversation", f"Where is the {SECRET_WORDS}?")
    attributes = spans["asked"].attributes or {}
    asked = json.loads(str(attributes["gen_ai.input.messages"]))
    assert [each["role"] for each in asked] == ["system", "user"]
    assert asked[1]["parts"] == [{"type": "text", "content": f"Where is the {SECRET_WORDS}?"}]
    said = "".join(data["text"] for name, data in told if name == "delta")
    [answer] = json.loads(str(attributes["gen_ai.output.messages"]))
    assert answer["parts"][0]["content"] == said
    assert "pomegranate" not in everything_in(spans["engine"])


def test_the_agent_and_other_programs_are_traced_too_and_a_callers_own_trace_goes_on(
    tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("agent_framework", reason="the extra `agent` is not installed")
    with traced(tiny_model, tmp_path, content=False) as (server, spans):
        callers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        asked = {"question": SECRET_WORDS, "max_tokens": 3}
        assert server.program().post("/agent", json=asked, headers=callers).status_code == 200
    assert {f"{span.get_span_context().trace_id:032x}" for span in spans.values()} == {"a" * 32}
    assert spans["engine"].parent
    assert spans["engine"].parent.span_id == spans["asked"].get_span_context().span_id
    assert tokens_of(spans["asked"]) == tokens_of(spans["engine"])
    assert all("pomegranate" not in everything_in(span) for span in spans.values())


def test_a_refused_question_is_an_error_of_its_kind_only(endpoint: StreamingEndpoint, tmp_path: Path) -> None:
    spans = InMemorySpanExporter()
    tracing = OpenTelemetryTracing("", exporter=spans)
    endpoint.steps.append(("refuse", 400))
    with chat_server(tmp_path / "h.sqlite", {"tuned": endpoint.address}, tracing=tracing) as server:
        ask(server.client(), "a-conversation", SECRET_WORDS)
    [asked] = [span for span in spans.get_finished_spans() if span.kind.name == "CLIENT"]
    assert (asked.attributes or {})["error.type"] == "EndpointRefused"
    assert asked.status.status_code.name == "ERROR"
    assert all("scripted" not in everything_in(span) for span in spans.get_finished_spans())


def test_without_tracing_nothing_of_opentelemetry_is_imported_and_no_header_is_sent(
    server: ChatServer, endpoint: StreamingEndpoint
) -> None:
    ask(server.client(), "a-conversation", "hello")
    assert "traceparent" not in endpoint.requests[0]["headers"]
    names = "chat_code.server, chat_code.tracing, serving_code.service, serving_code.tracing"
    program = f"import sys, {names}; assert chat_code.tracing.tracing_to('') is chat_code.tracing.OFF"
    program += "; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    for trace_to in (tracing_to, serving_tracing.tracing_to):
        with pytest.raises(ValueError, match="pip install opentelemetry-exporter-otlp-proto-http"):
            trace_to("http://127.0.0.1:9/v1/traces")


def test_application_insights_takes_its_connection_string(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("azure.monitor.opentelemetry.exporter")
    monkeypatch.delenv("APPLICATIONINSIGHTS_CONNECTION_STRING", raising=False)
    with pytest.raises(ValueError, match=r"(?i)connection string|instrumentation key"):
        tracing_to(APPLICATION_INSIGHTS)
