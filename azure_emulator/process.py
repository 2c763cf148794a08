"""The local Azure as a process of its own: started, found again, and stopped, by its state folder.

Those of tests, `local_azure`, share one process: see `several`.
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
# As the tests found it: what one of them sets is not for the local Azures of those that follow.
_ENVIRONMENT = dict(os.environ)

# The server outlives its Popen, which would warn of that when it is collected: so it is kept until `down`.
_STARTED: dict[Path, subprocess.Popen[bytes]] = {}


class CannotStart(RuntimeError):
    """The local Azure did not come up; the message ends with what it said."""


def up(state: Path, scale: float = 1.0) -> Path:
    """A local Azure on the state folder, ready for requests: the one that runs there, or a new, empty one."""
    if running(state):
        return state
    _forget(state)
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
    said = (state / "server.log").read_text(errors="replace").strip()[-2000:]
    raise CannotStart(f"the local Azure did not start on {state}; it said:\n{said}")


def down(state: Path) -> bool:
    """Nothing of the local Azure runs any more; whether it did."""
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
    """Whether a local Azure answers on the state folder."""
    if _process(state) is None or not (state / "ready").exists():
        return False
    try:
        return bool(Control(state).ping())
    except (OSError, ControlError):
        return False


def environment(state: Path) -> dict[str, str]:
    """What a client's environment needs to reach the local Azure that runs on the state folder."""
    found: dict[str, str] = json.loads((state / "environment.json").read_text())
    return {**found, "PATH": f"{state / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def _process(state: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int((state / "pid").read_text()))
        return process if "azure_emulator.server" in process.cmdline() else None
    except (OSError, ValueError, psutil.Error):
        return None


def _forget(state: Path) -> None:
    # Each start is an empty subscription: blobs and logs of an earlier one would belong to nothing.
    for name in ("azurite", "jobs", "tls"):
        shutil.rmtree(state / name, ignore_errors=True)
    for name in ("ready", "control", "proxy", "environment.json", "az-login.json", "server.log"):
        (state / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class LocalAzure:
    """One that runs: its state folder, the tests' channel, and what a client's environment needs."""

    state: Path
    control: Control
    environment: dict[str, str]


@contextmanager
def local_azure(state: Path, scale: float = 1.0) -> Iterator[LocalAzure]:
    """A new, empty local Azure for the length of a block, with its addresses in this process's environment."""
    _forget(state)
    state.mkdir(parents=True, exist_ok=True)
    several = _shared_process()
    several.ask(SECONDS_TO_START, open=str(state), scale=scale)
    (state / "server.log").symlink_to(several.log)
    before = dict(os.environ)
    try:
        found = LocalAzure(state, Control(state), environment(state))
        os.environ.update(found.environment)
        yield found
    finally:
        os.environ.clear()
        os.environ.update(before)
        several.ask(SECONDS_TO_STOP, close=str(state))


class _SharedProcess:
    """The process that the local Azures of this one run in; it ends when this one does, however that ends."""

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

    def ask(self, seconds: float, **command: Any) -> None:
        """The command is granted. Raises CannotStart, with what the process said, when it is not."""
        assert self.process.stdin
        assert self.process.stdout
        error = f"nothing for {seconds} s"
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            if select.select([self.process.stdout], [], [], seconds)[0]:
                line = self.process.stdout.readline()
                error = json.loads(line).get("error") if line else "that it is over"
        except BrokenPipeError:
            error = "that it is over"
        if error:
            said = self.log.read_text(errors="replace").strip()[-2000:]
            self.close()
            raise CannotStart(f"the process of the local Azures answered {error} to {command}; it said:\n{said}")

    def close(self) -> None:
        """It is gone, with all that ran in it."""
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
