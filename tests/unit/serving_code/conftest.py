"""Tiny random models, and a real server with one in this process."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from serving_code.answers import AnswerStore
from serving_code.engine import Engine
from serving_code.limits import Limits
from serving_code.server import build_app
from serving_code.service import Identity, Service
from tests.support.tiny_models import make_tiny_phi3

KEY = "a-key-for-tests"


def write_model(folder: Path, *, scale: float = 1.0, **options) -> Path:
    """A tiny model; its weights are scaled up so that its logits differ clearly, as a trained model's do."""
    from safetensors.torch import load_file, save_file

    make_tiny_phi3(folder, **options)
    file = folder / "model.safetensors"
    weights = load_file(file)
    scaled = {name: value * scale if "_proj" in name else value for name, value in weights.items()}
    save_file(scaled, file, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def lively_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers vary, hold broken UTF-8, and often end by themselves."""
    return write_model(tmp_path_factory.mktemp("lively"), scale=15.0)


@pytest.fixture(scope="session")
def endless_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never ends its answer: it writes newlines up to the token limit."""
    return write_model(tmp_path_factory.mktemp("endless"))


@pytest.fixture(scope="session")
def lively(lively_model: Path) -> Engine:
    return Engine.load(lively_model, dtype="float32")


@pytest.fixture(scope="session")
def endless(endless_model: Path) -> Engine:
    return Engine.load(endless_model, dtype="float32")


@dataclass
class Running:
    """A server that answers over HTTP on loopback."""

    service: Service
    url: str
    client: httpx.Client

    def chat(self, **fields) -> httpx.Response:
        messages = [{"role": "user", "content": "How do I reset the pump?"}]
        return self.client.post("/v1/chat/completions", json={"messages": messages, **fields})

    def score(self, body: object) -> httpx.Response:
        return self.client.post("/score", json=body)


@contextmanager
def running_server(
    model: Path | None,
    limits: Limits | None = None,
    key: str | None = KEY,
    answers: AnswerStore | None = None,
    cors_origins: tuple[str, ...] = (),
) -> Iterator[Running]:
    """Run the server on a free port in a thread; without a model it is never ready."""
    service = Service(
        Identity("blue", "tiny", "3", "d1g3st"), limits or Limits(), key, answers, cors_origins=cors_origins
    )
    if model:
        service.load(model, dtype="float32")
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(build_app(service), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    headers = {"Authorization": f"Bearer {key}"}
    try:
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
            yield Running(service, url, client)
    finally:
        server.should_exit = True
        thread.join()
        if service.batcher:
            service.batcher.stop()
        if service.answers:
            service.answers.close()


@pytest.fixture(scope="session")
def server(lively_model: Path) -> Iterator[Running]:
    with running_server(lively_model, Limits(default_temperature=0.0)) as running:
        yield running


@pytest.fixture(scope="session")
def slow_server(endless_model: Path) -> Iterator[Running]:
    """A server that decodes one answer at a time, with a queue of one; an answer can take seconds."""
    with running_server(endless_model, Limits(max_concurrency=1, max_queue=1)) as running:
        yield running


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait until the condition holds; fail on timeout."""

    def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.02)

    return wait
