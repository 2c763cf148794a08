"""A webhook on loopback, a Dagster instance in a folder, and the sensor's ticks over both."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, event

from phi_assets.notifications.outbox import Outbox
from phi_assets.notifications.send import outbox_path, tick
from phi_assets.settings import Settings, read

SECRET = "T0AAAA/B0BBBB/verysecretpart"


@dataclass
class Webhook:
    """What was posted, and what is answered next: each of `answers` once, then 200."""

    port: int = 0
    posted: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/{SECRET}"

    @property
    def titles(self) -> list[str]:
        return [each["blocks"][0]["text"]["text"] for each in self.posted]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    its = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers, words = its.answers.pop(0) if its.answers else (200, {}, "ok")
            if 200 <= status < 300:
                its.posted.append(json.loads(body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(words.encode())

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        its.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield its
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an instance with nothing in it: making its tables takes a second, a copy of them none."""
    folder = tmp_path_factory.mktemp("dagster")
    with dg.DagsterInstance.local_temp(str(folder)):
        return folder


@pytest.fixture(autouse=True)
def _no_power_cut() -> Iterator[None]:
    """SQLite does not wait for the disk: half of these tests' time."""

    def hurry(connection: Any, record: Any) -> None:
        del record
        connection.execute("PRAGMA synchronous = OFF").close()

    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture
def instance(empty: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copytree(empty, tmp_path / "dagster")
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as opened:
        yield opened


@dataclass
class Watch:
    """The sensor as the daemon runs it: what it remembers between ticks is its cursor."""

    instance: dg.DagsterInstance
    settings: Settings
    cursor: str | None = None

    def tick(self) -> list[str]:
        assert self.settings.webhook
        checks = [dg.AssetCheckKey(dg.AssetKey("data"), "seen")]
        self.cursor, report = tick(self.instance, self.settings, self.settings.webhook, self.cursor, checks)
        return report

    def outbox(self) -> Outbox:
        return Outbox(outbox_path(self.settings))

    def make_all_due(self) -> None:
        """As if the waits, and the claims of processes that died, had run out."""
        with self.outbox() as outbox:
            outbox._connection.execute("UPDATE notifications SET due = 0")


@pytest.fixture
def watch(instance: dg.DagsterInstance, webhook: Webhook, tmp_path: Path) -> Watch:
    """After its first tick, on an empty log."""
    its = Watch(instance, read({"PHI_HOME": str(tmp_path / "home"), "PHI_WEBHOOK": webhook.address}))
    its.tick()
    return its
