"""Starts a home's code server, webserver and daemon, restarts one that ended, and ends all when it is told to.

    python -m phi_assets.instance.supervisor PORT LOADED foreground|background

Imports no Dagster: this process costs little memory and no processor time.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from phi_assets import own_processes
from phi_assets.instance import dagster_record
from phi_assets.own_processes import Process
from phi_assets.project import LOCATION, WORKING_FOLDER
from phi_assets.settings import Settings, current

SOCKET_FOLDER = "phi-{machine}-"  # prefix
MODULE = "phi_assets.definitions"
POLL_SECONDS = 1.0
LOAD_SECONDS = 120
END_SECONDS = 15
MOST_RESTARTS = 5  # of one server within RESTART_SECONDS
RESTART_SECONDS = 300


class Supervisor:
    """The three servers of a home. Their socket lies in a folder of its own that only this user can open."""

    def __init__(self, settings: Settings, port: int, loaded: str, *, foreground: bool) -> None:
        self._settings = settings
        self._port = port
        self._loaded = loaded
        self._foreground = foreground
        self._ending = threading.Event()
        self._lifeline, self._held = os.pipe()
        # The machine in its name: a run's tag names the socket, and so tells which machine ran it.
        self._folder = Path(tempfile.mkdtemp(prefix=SOCKET_FOLDER.format(machine=own_processes.machine())))
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._restarts: dict[str, list[float]] = {}

    def run(self) -> int:
        """Serve until a signal ends it (0), or a server cannot be kept running (1)."""
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: self._ending.set())
        self._workspace().write_text(
            f"load_from:\n- grpc_server:\n    socket: {self._socket()}\n    host: localhost\n"
            f"    location_name: {LOCATION}\n",
            encoding="utf-8",
        )
        try:
            self._start("code-server")
            self._wait_for_socket()
            for name in ("webserver", "daemon"):
                self._start(name)
            while not self._ending.wait(POLL_SECONDS):
                if not all(self._keep(name) for name in list(self._servers)):
                    return 1
            return 0
        finally:
            self._end()

    def _start(self, name: str) -> None:
        if self._ending.is_set():
            return
        if name == "code-server":
            self._socket().unlink(missing_ok=True)
        self._servers[name] = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "phi_assets.instance.dagster_process",
                str(self._lifeline),
                name,
                *self._options(name),
            ],
            cwd=WORKING_FOLDER,
            stdin=subprocess.DEVNULL,
            pass_fds=[self._lifeline],
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends them in order
        )
        self._record()

    def _options(self, name: str) -> list[str]:
        workspace = ["--workspace", str(self._workspace())]
        return {
            "code-server": [
                *("--socket", str(self._socket()), "--working-directory", str(WORKING_FOLDER)),
                *("--module-name", MODULE, "--location-name", LOCATION),
                *("--log-level", "warning", "--use-python-environment-entry-point"),
            ],
            "webserver": ["--host", "127.0.0.1", "--port", str(self._port), *workspace],
            "daemon": workspace,
        }[name]

    def _keep(self, name: str) -> bool:
        """Start the server again when it ended; return whether it can be kept running."""
        status = self._servers[name].poll()
        if status is None or self._ending.is_set():
            return True
        now = time.monotonic()
        recent = [when for when in self._restarts.get(name, []) if now - when < RESTART_SECONDS]
        if len(recent) >= MOST_RESTARTS:
            _say(f"the {name} ended {len(recent) + 1} times in {RESTART_SECONDS} s: giving up")
            return False
        _say(f"the {name} ended (status {status}); starting it again")
        self._restarts[name] = [*recent, now]
        try:
            self._start(name)
        except OSError as e:  # a full disk: the server runs, and `phi down` finds it by its token
            _say(f"the {name} is not recorded: {e}")
        return True

    def _wait_for_socket(self) -> None:
        """Return when the code server answers; also when it ended or takes too long: the UI then says why."""
        deadline = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < deadline and self._servers["code-server"].poll() is None:
            with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
                probe.connect(str(self._socket()))
                return
            if self._ending.wait(0.1):
                return

    def _record(self) -> None:
        servers = {}
        for name, server in self._servers.items():
            with suppress(ProcessLookupError):
                servers[name] = Process.of(server.pid)
        me = Process.of(os.getpid())
        about = (self._port, self._loaded, self._foreground, own_processes.machine())
        dagster_record.write(self._settings, dagster_record.Interface(me, *about, servers, str(self._folder)))

    def _end(self) -> None:
        self._ending.set()
        tokens = dagster_record.tokens_of(self._settings)
        for names in (("webserver", "daemon"), ("code-server",)):
            started = [self._servers[name] for name in names if name in self._servers]
            for server in started:
                with suppress(ProcessLookupError):
                    server.send_signal(signal.SIGINT)
            for server in started:
                try:
                    server.wait(END_SECONDS)
                except subprocess.TimeoutExpired:
                    server.kill()
        own_processes.end(dagster_record.processes_of(tokens), END_SECONDS)
        with suppress(OSError):
            dagster_record.file(self._settings).unlink()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _socket(self) -> Path:
        return self._folder / "code"

    def _workspace(self) -> Path:
        return self._folder / "workspace.yaml"


def _say(words: str) -> None:
    print(f"phi: {words}", file=sys.stderr, flush=True)


def main() -> int:
    os.umask(0o077)
    port, loaded, place = sys.argv[1:]
    return Supervisor(current(), int(port), loaded, foreground=place == "foreground").run()


if __name__ == "__main__":
    sys.exit(main())
