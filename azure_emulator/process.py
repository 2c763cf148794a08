"""Start, find and stop a local Azure process by its state folder.

The emulators of tests (`local_azure`) share one process: see `shared_process`.
"""

import atexit
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from azure_emulator.control import Control, ControlError

PROJECT = Path(__file__).resolve().parents[1]
SECONDS_TO_START = 90
SECONDS_TO_STOP = 20
# The environment before any test changed it, so that one test's settings do not reach later emulators.
_ENVIRONMENT = dict(os.environ)

# The server outlives this function. A collected Popen of a live process warns, so each is stored until `down`.
_STARTED: dict[Path, subprocess.Popen[bytes]] = {}


class CannotStart(RuntimeError):
    """The local Azure did not start; the message ends with its log."""


def up(state: Path, scale: float = 1.0) -> Path:
    """Return the state folder once a local Azure serves from it: the one that runs there, or a new, empty one."""
    if running(state):
        return state
    _delete_old_state(state)
    state.mkdir(parents=True, exist_ok=True)
    with (state / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "azure_emulator.server", str(state), str(scale)],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _STARTED[state] = process
    (state / "pid").write_text(str(process.pid))
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if (state / "ready").exists() and running(state):
            return state
        if process.poll() is not None:
            break
        time.sleep(0.1)
    down(state)
    log_tail = (state / "server.log").read_text(errors="replace").strip()[-2000:]
    raise CannotStart(f"the local Azure did not start on {state}; its log ends with:\n{log_tail}")


def down(state: Path) -> bool:
    """Stop the local Azure with all its child processes. Return whether it was running."""
    process = _process(state)
    if process is None:
        return False
    children = process.children(recursive=True)
    started = _STARTED.pop(state, None)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_STOP)
    except psutil.TimeoutExpired:
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=5)
    for child in alive:
        child.kill()
    if started:
        started.wait()
    (state / "ready").unlink(missing_ok=True)
    return True


def running(state: Path) -> bool:
    """Return whether a local Azure of this state folder answers."""
    if _process(state) is None or not (state / "ready").exists():
        return False
    try:
        return bool(Control(state).ping())
    except (OSError, ControlError):
        return False


def environment(state: Path) -> dict[str, str]:
    """Return the environment variables that a client needs to reach the local Azure of this state folder."""
    variables: dict[str, str] = json.loads((state / "environment.json").read_text())
    return {**variables, "PATH": f"{state / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def _process(state: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int((state / "pid").read_text()))
        return process if "azure_emulator.server" in process.cmdline() else None
    except (OSError, ValueError, psutil.Error):
        return None


def _delete_old_state(state: Path) -> None:
    # Each start is an empty subscription, so blobs and logs of an earlier start would have no resource.
    for name in ("azurite", "jobs", "tls"):
        shutil.rmtree(state / name, ignore_errors=True)
    for name in ("ready", "control", "proxy", "environment.json", "az-login.json", "server.log"):
        (state / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class LocalAzure:
    """A running local Azure: state folder, control client, and the environment variables for clients."""

    state: Path
    control: Control
    environment: dict[str, str]


@contextmanager
def local_azure(state: Path, scale: float = 1.0) -> Iterator[LocalAzure]:
    """Run a new, empty local Azure during a `with` block, with its addresses in this process's environment."""
    _delete_old_state(state)
    state.mkdir(parents=True, exist_ok=True)
    shared = _shared_process()
    shared.request(SECONDS_TO_START, open=str(state), scale=scale)
    (state / "server.log").symlink_to(shared.log)
    before = dict(os.environ)
    try:
        azure = LocalAzure(state, Control(state), environment(state))
        os.environ.update(azure.environment)
        yield azure
    finally:
        os.environ.clear()
        os.environ.update(before)
        shared.request(SECONDS_TO_STOP, close=str(state))


class _SharedProcess:
    """The process that hosts the emulators of this process. It ends when this process ends, for whatever reason."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="local-azure-"))
        self.log = self._folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "azure_emulator.shared_process", str(os.getpid()), str(self._folder)],
                cwd=PROJECT,
                env={**_ENVIRONMENT, "TMPDIR": str(self._folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                bufsize=0,
            )
        atexit.register(self.close)

    def request(self, seconds: float, **command: Any) -> None:
        """Send a command and wait for its success. Raises CannotStart with the end of the log otherwise."""
        assert self.process.stdin
        assert self.process.stdout
        error = f"no answer within {seconds} s"
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            if select.select([self.process.stdout], [], [], seconds)[0]:
                line = self.process.stdout.readline()
                error = json.loads(line).get("error") if line else "the process ended"
        except BrokenPipeError:
            error = "the process ended"
        if error:
            log_tail = self.log.read_text(errors="replace").strip()[-2000:]
            self.close()
            raise CannotStart(
                f"the process of the local Azures failed at {command}: {error}; its log ends with:\n{log_tail}"
            )

    def close(self) -> None:
        """End the process and all emulators in it."""
        atexit.unregister(self.close)
        _shared_process.cache_clear()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@cache
def _shared_process() -> _SharedProcess:
    return _SharedProcess()
