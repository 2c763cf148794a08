"""An OpenTelemetry span for each request that another span asks: tokens and seconds, never a word.

Nothing of OpenTelemetry is imported while tracing is off.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

HEADERS = {"x-mlflow-experiment-id": "0"}  # MLflow's default experiment; other receivers ignore it
SEND_SECONDS = 20  # the first span of an MLflow server that was just started took over five


class RequestSpan:
    """The span of a request; this one records nothing."""

    def sent(self) -> None:
        """Record that a part of the answer's body was sent."""

    def end(self, status: int, usage: Mapping[str, int], answered_by: Mapping[str, str]) -> None:
        """End the span with what the request cost."""


class Tracing:
    """Makes spans; this one makes none."""

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> RequestSpan:
        """Begin the span of a request."""
        return RequestSpan()

    def close(self) -> None:
        """Send what was not sent yet."""


class OpenTelemetryTracing(Tracing):
    """Sends spans to an address by OTLP over HTTP, or to the exporter that is given."""

    def __init__(self, address: str, *, exporter: Any = None) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        exporter = exporter or OTLPSpanExporter(endpoint=address, headers=HEADERS, timeout=SEND_SECONDS)
        self._provider = TracerProvider(resource=Resource.create({"service.name": "phi-endpoint"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("serving_code")
        self._propagator = TraceContextTextMapPropagator()

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> RequestSpan:
        from opentelemetry.trace import SpanKind

        if "traceparent" not in headers:  # health checks, and programs that do not trace
            return RequestSpan()
        parent = self._propagator.extract(headers)
        return _Recorded(self._tracer.start_span(f"{method} {path}", context=parent, kind=SpanKind.SERVER))

    def close(self) -> None:
        self._provider.shutdown()


class _Recorded(RequestSpan):
    def __init__(self, span: Any) -> None:
        self._span, self._started, self._parts = span, time.monotonic(), 0

    def sent(self) -> None:
        self._parts += 1
        if self._parts == 2:  # a stream begins with the role; then come queue, prompt and the first token
            self._span.set_attribute("phi.seconds_to_first_token", round(time.monotonic() - self._started, 4))

    def end(self, status: int, usage: Mapping[str, int], answered_by: Mapping[str, str]) -> None:
        names = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
        counts = {f"gen_ai.usage.{name}": usage[field] for name, field in names.items() if field in usage}
        self._span.set_attributes({"http.response.status_code": status, **counts, **answered_by})
        self._span.end()


def tracing_to(address: str) -> Tracing:
    """Return the tracing to an address; none for "". Raises ValueError when its packages are missing."""
    if not address:
        return Tracing()
    try:
        return OpenTelemetryTracing(address)
    except ImportError as e:
        raise ValueError(
            f"--traces needs {e.name}, which is not installed: pip install opentelemetry-exporter-otlp-proto-http"
        ) from e
