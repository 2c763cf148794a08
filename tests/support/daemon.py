"""A home with a running `phi dev` (Dagster's UI and daemon), and readers of its runs, ticks and answers."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from phi_assets.endpoint_client import NoAnswer, chat
from phi_assets.graph.run_tags import STOPPED
from phi_assets.project import PROJECT
from tests.support.homes import Home

ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


@dataclass
class Watched:
    """A home and its `phi dev` process."""

    home: Home
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start `phi dev`, and wait until the sensor `new_conversations` of its own daemon has ticked.

        What `phi run` started ends first, and starts again: Dagster, the endpoint and the chat.
        """
        if (
            signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        ):  # in the background of a shell; the child would inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        environment = {**os.environ, **self.home.settings}
        with (self.home.folder / "dev.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "phi_assets.cli.main", "dev"],
                cwd=PROJECT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.wait("a daemon of `phi dev`", self._daemons, 120)
        began = time.time()
        self.wait("a tick of new_conversations", lambda: self.ticks("new_conversations", since=began), 90)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(180)

    def kill_daemon(self) -> None:
        """Kill the daemon with SIGKILL; `phi dev` starts another one."""
        assert self.process
        (daemon,) = self._daemons()
        daemon.kill()
        self.wait("another daemon", lambda: [each for each in self._daemons() if each != daemon], 60)

    def _daemons(self) -> list[psutil.Process]:
        assert self.process
        family = psutil.Process(self.process.pid).children()
        return [
            each
            for each in family
            if "phi_assets.instance.dagster_process" in (its := _command(each)) and "daemon" in its
        ]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with dg.DagsterInstance.from_config(str(self.state / "dagster")) as opened:
            yield opened

    @property
    def state(self) -> Path:
        return self.home.folder / "home" / self.home.settings.get("PHI_BACKEND", "local")

    @property
    def inbox(self) -> Path:
        return self.home.folder / "home" / "inbox"

    def record(self, asset: str) -> dict[str, Any]:
        return json.loads((self.state / "records" / f"{asset}.json").read_text(encoding="utf-8"))

    def runs(self, since: float = 0.0) -> list[dg.DagsterRun]:
        """Return the runs created since then, newest first."""
        with self.instance() as instance:
            found = instance.get_run_records(limit=500)
        return [each.dagster_run for each in found if each.create_timestamp.timestamp() >= since]

    def started(self, job: str) -> float:
        """Return when the newest run of the job started, in seconds since 1970."""
        with self.instance() as instance:
            (record,) = instance.get_run_records(filters=dg.RunsFilter(job_name=job), limit=1)
        assert record.start_time
        return record.start_time

    def idle(self) -> bool:
        return all(run.status in ENDED for run in self.runs())

    def made(self, since: float = 0.0) -> Counter[str]:
        """Return how often each asset was materialised since then."""
        with self.instance() as instance:
            keys = instance.all_asset_keys()
            return Counter(
                {
                    key.to_user_string(): number
                    for key in keys
                    if (number := sum(r.timestamp >= since for r in instance.fetch_materializations(key, 100).records))
                }
            )

    def failed_steps(self, since: float) -> list[str]:
        """Return the errors of failed steps since then, without those that ended because their process was stopped."""
        with self.instance() as instance:
            found = [
                entry.dagster_event.step_failure_data
                for run in self.runs(since)
                for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
                if entry.dagster_event
            ]
        own = [each for each in found if not (each.user_failure_data and STOPPED in each.user_failure_data.metadata)]
        return [words for each in own if "Interrupted" not in (words := str(each.error))]

    def observed(self, since: float) -> int:
        with self.instance() as instance:
            found = instance.fetch_observations(dg.AssetKey("raw_conversations"), 100).records
            return sum(each.timestamp >= since for each in found)

    def ticks(self, sensor: str, since: float) -> list[str]:
        """Return the skip reason or status of the sensor's ticks since then, newest first; without running ticks."""
        with self.instance() as instance:
            states = [each for each in instance.all_instigator_state() if each.instigator_name == sensor]
            found = [
                tick
                for state in states
                for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, after=since, limit=100)
            ]
        return [tick.skip_reason or str(tick.status.value) for tick in found if tick.status.value != "STARTED"]

    def wait(self, what: str, until: Callable[[], Any], seconds: float) -> Any:
        """Poll `until` and return its first true value. Fails with the end of Dagster's log on timeout."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = until()
            if found:
                return found
            assert self.process is None or self.process.poll() is None, self._log()
            time.sleep(0.5)
        raise AssertionError(f"waited {seconds:.0f} s for {what}\n{self._log()}")

    def drop(self, name: str, lines: list[str]) -> None:
        """Put a file into the inbox atomically."""
        self.inbox.mkdir(parents=True, exist_ok=True)
        draft = self.home.folder / f"{name}.draft"
        draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        draft.replace(self.inbox / name)

    def _log(self) -> str:
        return (self.home.folder / "dev.log").read_text(encoding="utf-8", errors="replace")[-4000:]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # the process has just ended
        return []


@dataclass
class Webhook:
    """A webhook receiver on 127.0.0.1, and the messages that it received."""

    port: int
    told: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def webhook() -> Iterator[Webhook]:
    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            its.told.append(json.dumps(json.loads(body), ensure_ascii=False))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receive)
    its = Webhook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield its
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Asked:
    """The failed questions, and the time of each model version's first answer, in seconds since 1970."""

    failures: list[str] = field(default_factory=list[str])
    first: dict[str, float] = field(default_factory=dict[str, float])


@contextmanager
def asked_all_the_time(home: Home, seconds_between: float = 0.3) -> Iterator[Asked]:
    """Send questions to the endpoint during the block."""
    folder = home.folder / "home" / "local" / "endpoints" / "phi-chat"
    key = (folder / "key").read_text(encoding="utf-8").strip()
    asked = Asked()
    over = threading.Event()

    def ask() -> None:
        while not over.wait(seconds_between):
            port = json.loads((folder / "state.json").read_text(encoding="utf-8"))["port"]
            try:
                messages = [{"role": "user", "content": "Hello?"}]
                answer = chat(f"http://127.0.0.1:{port}", key, messages, max_new_tokens=4)
                asked.first.setdefault(answer.model_version, time.time())
            except NoAnswer as e:
                asked.failures.append(str(e))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join(30)


@contextmanager
def watching(home: Home) -> Iterator[Watched]:
    """Make the whole graph of the home, then run its `phi dev`; whatever fails, nothing of it runs in the end."""
    its = Watched(home)
    try:
        home.run()
        its.start()
        yield its
    finally:
        its.stop()
        home.phi("down")
