"""OpenTelemetry spans of the chat: a request, and the question to the endpoint below it.

Nothing of OpenTelemetry is imported while tracing is off. Spans hold tokens, seconds and the answer's origin; words of
people and models only where `content` is set.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chat_code.conversations import Served, Usage

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

APPLICATION_INSIGHTS = "azure"
"""Instead of an address: Application Insights, by APPLICATIONINSIGHTS_CONNECTION_STRING."""
# MLflow's server wants the experiment of a trace as a header; 0 is its default experiment. Others ignore it.
HEADERS = {"x-mlflow-experiment-id": "0"}
SEND_SECONDS = 20  # the first span of an MLflow server that was just started took over five
TRACED = ("/api/conversations/", "/v1/chat/completions", "/agent")


class Asked:
    """The span of one question to an endpoint; this one records nothing."""

    def headers(self) -> dict[str, str]:
        """Return the headers that tell the endpoint which span asks it."""
        return {}

    def piece(self, text: str) -> None:
        """Record a piece of the answer."""

    def finished(self, served: Served, usage: Usage, reason: str) -> None:
        """Record the end of the answer."""

    def failed(self, error: BaseException) -> None:
        """Record that there is no whole answer: the error's kind, since its message may quote words."""

    def end(self) -> None:
        """End the span."""


class Tracing:
    """Makes spans; this one makes none."""

    def asked(self, messages: Sequence[Mapping[str, Any]], sampling: Mapping[str, Any]) -> Asked:
        """Begin the span of a question, below the request that is handled."""
        return Asked()

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return the application with a span around each request that asks."""
        return app

    def close(self) -> None:
        """Send what was not sent yet."""


OFF = Tracing()


class OpenTelemetryTracing(Tracing):
    """Sends spans to an address by OTLP over HTTP, or to Application Insights; or to the exporter that is given."""

    def __init__(self, address: str, *, content: bool = False, exporter: Any = None) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._content = content
        self._provider = TracerProvider(resource=Resource.create({"service.name": "phi-chat"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or _exporter(address)))
        self._tracer = self._provider.get_tracer("chat_code")
        self._propagator = TraceContextTextMapPropagator()

    def asked(self, messages: Sequence[Mapping[str, Any]], sampling: Mapping[str, Any]) -> Asked:
        from opentelemetry.trace import SpanKind

        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "phi-assets"}
        attributes |= {f"gen_ai.request.{name}": value for name, value in sampling.items()}
        if self._content:
            attributes["gen_ai.input.messages"] = _as_parts(messages)
        span = self._tracer.start_span("chat", kind=SpanKind.CLIENT, attributes=attributes)
        return _Recorded(span, self._propagator, content=self._content)

    def around(self, app: ASGIApp) -> ASGIApp:
        from opentelemetry import trace

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            asks = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(TRACED)
            if not asks:
                await app(scope, receive, send)
                return
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            parent = self._propagator.extract(headers)
            with self._tracer.start_as_current_span(
                "request", context=parent, kind=trace.SpanKind.SERVER, record_exception=False
            ) as span:
                await app(scope, receive, send)
                span.update_name(f"POST {getattr(scope.get('route'), 'path', '')}")

        return traced

    def close(self) -> None:
        self._provider.shutdown()


class _Recorded(Asked):
    def __init__(self, span: Any, propagator: Any, *, content: bool) -> None:
        self._span, self._propagator, self._content = span, propagator, content
        self._started = time.monotonic()
        self._pieces: list[str] = []
        self._begun = False

    def headers(self) -> dict[str, str]:
        from opentelemetry.trace import set_span_in_context

        carried: dict[str, str] = {}
        self._propagator.inject(carried, context=set_span_in_context(self._span))
        return carried

    def piece(self, text: str) -> None:
        if not self._begun:
            self._begun = True
            self._span.set_attribute("phi.seconds_to_first_piece", round(time.monotonic() - self._started, 4))
        if self._content:
            self._pieces.append(text)

    def finished(self, served: Served, usage: Usage, reason: str) -> None:
        self._span.set_attributes(
            {
                "gen_ai.response.id": served.answer_id,
                "gen_ai.response.model": served.model,
                "gen_ai.response.finish_reasons": [reason],
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
                "phi.model_version": served.model_version,
                "phi.deployment": served.deployment,
                "phi.dropped_turns": usage.dropped_turns,
            }
        )
        if self._content:
            answer = [{"role": "assistant", "content": "".join(self._pieces)}]
            self._span.set_attribute("gen_ai.output.messages", _as_parts(answer))

    def failed(self, error: BaseException) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("error.type", type(error).__name__)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        self._span.end()


def _as_parts(messages: Iterable[Mapping[str, Any]]) -> str:
    """Return messages in the form of OpenTelemetry's conventions for generative AI."""
    return json.dumps(
        [{"role": each["role"], "parts": [{"type": "text", "content": each["content"]}]} for each in messages],
        ensure_ascii=False,
    )


def _exporter(address: str) -> Any:
    if address == APPLICATION_INSIGHTS:
        from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

        return AzureMonitorTraceExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=address, headers=HEADERS, timeout=SEND_SECONDS)


def tracing_to(address: str, *, content: bool = False) -> Tracing:
    """Return the tracing to an address; none for "". Raises ValueError when its packages are missing."""
    if not address:
        return OFF
    try:
        return OpenTelemetryTracing(address, content=content)
    except ImportError as e:
        raise ValueError(
            f"traces need {e.name}, which is not installed: pip install opentelemetry-exporter-otlp-proto-http,"
            " or for Application Insights azure-monitor-opentelemetry-exporter"
        ) from e
