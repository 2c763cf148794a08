from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chat_server import ChatServer, StreamingEndpoint, chat_server, streaming_endpoint


@pytest.fixture(scope="session")
def endpoint_server() -> Iterator[StreamingEndpoint]:
    """One endpoint for all tests of this folder."""
    with streaming_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(endpoint_server: StreamingEndpoint) -> StreamingEndpoint:
    """The endpoint with nothing asked and nothing scripted yet."""
    endpoint_server.requests.clear()
    endpoint_server.steps.clear()
    endpoint_server.between_s = 0.0
    endpoint_server.most_at_once = 0
    return endpoint_server


@pytest.fixture
def server(endpoint: StreamingEndpoint, tmp_path: Path) -> Iterator[ChatServer]:
    """A chat over the endpoint."""
    with chat_server(tmp_path / "chat.sqlite", {"tuned": endpoint.address, "base": endpoint.address}) as running:
        yield running
