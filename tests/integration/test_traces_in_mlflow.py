"""One question's trace in MLflow's own server, as its page shows it."""

from pathlib import Path

import pytest

from chat_code.tracing import tracing_to
from phi_assets.backends.local.chat.review_page import ReviewPage
from serving_code import tracing as serving_tracing
from tests.support.chat_server import ask
from tests.support.tiny_models import make_tiny_phi3
from tests.support.traced_chat import traced_chat

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `tracing` is not installed")
pytestmark = [pytest.mark.integration, pytest.mark.long]


def test_the_page_of_mlflow_has_one_trace_with_three_spans_and_the_tokens(tmp_path: Path) -> None:
    import mlflow

    make_tiny_phi3(tmp_path / "tiny")
    page = ReviewPage(tmp_path / "review", tmp_path / "mlflow.db", 5999)
    address = page.start()
    try:
        to = f"{address}/v1/traces"
        with traced_chat(tmp_path / "tiny", tmp_path, tracing_to(to), serving_tracing.tracing_to(to)) as server:
            told = ask(server.client(), "a-conversation", "Where is the observatory?")
        usage = told[-1][1]["message"]["usage"]
        [trace] = mlflow.MlflowClient(tracking_uri=address).search_traces(["0"])
    finally:
        page.stop()
    request, asked, engine = sorted(trace.data.spans, key=lambda span: span.start_time_ns)
    assert (request.parent_id, asked.parent_id, engine.parent_id) == (None, request.span_id, asked.span_id)
    for span in (asked, engine):
        assert span.get_attribute("gen_ai.usage.input_tokens") == usage["prompt_tokens"]
        assert span.get_attribute("gen_ai.usage.output_tokens") == usage["completion_tokens"]
    assert "observatory" not in trace.to_json()
