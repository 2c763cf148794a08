"""Fixtures for tests of Prompt flow: a chat-completions endpoint with scripted failures, and a home for each test."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from phi_assets.project import PROJECT
from phi_assets.prompt_flow import virtual_environment
from phi_assets.prompt_flow.connections import CONNECTION, LocalConnections
from phi_assets.prompt_flow.environment import prompt_flow_environment

REPOSITORY = Path(__file__).resolve().parents[2]
CHAT_FLOW = REPOSITORY / "flows" / "chat"
KEY = "the-key-of-the-endpoint-0123456789"


@pytest.fixture(autouse=True)
def chat_flow_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompt flow puts a flow's folder on the path; so do these tests."""
    monkeypatch.syspath_prepend(str(CHAT_FLOW))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@dataclass
class ScriptedEndpoint:
    """Answers with what was asked, after the scripted answers (status, headers, body) are used up."""

    address: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    scripted: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)

    def refuse(self, status: int, message: str = "no", **headers: str) -> None:
        """The next request gets this error, in OpenAI's shape."""
        body = json.dumps({"error": {"message": message, "type": "error"}}).encode()
        self.scripted.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(request)
        if self.scripted:
            return self.scripted.pop(0)
        asked = request["body"]["messages"][-1]["content"]
        if "unanswerable" in asked:
            return 422, {}, json.dumps({"error": {"message": "told to refuse"}}).encode()
        text = f"{len(request['body']['messages'])} messages, the last: {asked}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        body = {"id": "chatcmpl-7", "created": 1, "model": "phi", "choices": [choice]}
        body |= {"system_fingerprint": "blue/phi:"}
        return 200, {"x-request-id": "req-7", "azureml-model-deployment": "blue"}, json.dumps(body).encode()


@pytest.fixture(scope="session")
def endpoint_server() -> Iterator[ScriptedEndpoint]:
    """A real HTTP server on loopback."""
    script = ScriptedEndpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, headers, answer = script.answer({"path": self.path, "headers": dict(self.headers), "body": body})
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    script.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield script
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def endpoint(endpoint_server: ScriptedEndpoint) -> ScriptedEndpoint:
    """The server with nothing asked and nothing scripted yet."""
    endpoint_server.requests.clear()
    endpoint_server.scripted.clear()
    return endpoint_server


@pytest.fixture
def user_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's home folder, which must stay as it was."""
    virtual_environment.ensure(PROJECT)  # before the home is set: pip keeps a cache in it
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    yield folder
    assert list(folder.iterdir()) == [], "Prompt flow wrote to the user's home folder"


@pytest.fixture
def home(tmp_path: Path, user_home: Path) -> Iterator[Path]:
    """A project home outside the user's home folder."""
    yield tmp_path / "project state"
    _assert_no_process_of(tmp_path / "project state")


@pytest.fixture(scope="session")
def connected_home(tmp_path_factory: pytest.TempPathFactory, endpoint_server: ScriptedEndpoint) -> Path:
    """A home whose connection leads to the scripted endpoint; made once, because starting Prompt flow takes seconds."""
    home = tmp_path_factory.mktemp("connected")
    LocalConnections(home).ensure(CONNECTION, endpoint_server.address, KEY)
    return home


@pytest.fixture
def connected(connected_home: Path, endpoint: ScriptedEndpoint, user_home: Path) -> Iterator[dict[str, str]]:
    """The environment of the home whose connection leads to the scripted endpoint."""
    yield prompt_flow_environment(connected_home)
    _assert_no_process_of(connected_home)


def _assert_no_process_of(home: Path) -> None:
    """Prompt flow likes to leave a server behind; every process of a home has the home's folder in its environment."""
    deadline = time.monotonic() + 20
    while (left := _processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == [], "Prompt flow left processes behind"


def _processes_of(home: Path) -> list[str]:
    left: list[str] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PF_HOME_DIRECTORY", "").startswith(str(home)):
                left.append(" ".join(process.cmdline()))
    return left
