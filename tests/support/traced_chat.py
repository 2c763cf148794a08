"""A traced chat over a traced endpoint with a tiny model, each a real server in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from chat_code.tracing import Tracing
from chat_code.turn import TurnSettings
from serving_code import tracing as serving_tracing
from serving_code.server import build_app
from serving_code.service import Identity, Service
from tests.support.chat_server import KEY, ChatServer, chat_server


@contextmanager
def traced_chat(
    model: Path, folder: Path, chat: Tracing, endpoint: serving_tracing.Tracing, settings: TurnSettings | None = None
) -> Iterator[ChatServer]:
    """Yield the chat; both have sent their spans when it is closed."""
    service = Service(Identity("blue", "tiny", "3", "d1g3st"), key=KEY, tracing=endpoint)
    service.load(model, dtype="float32")
    listener = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(build_app(service), log_config=None, lifespan="off"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with chat_server(folder / "h.sqlite", {"tuned": address}, settings=settings, tracing=chat) as server:
            yield server
    finally:
        running.should_exit = True
        thread.join()
        assert service.batcher
        service.batcher.stop()
        endpoint.close()
