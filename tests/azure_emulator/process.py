"""The local Azure as a process of its own: started, found again, and stopped, by its state folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.azure_emulator.control import Control, ControlError

PROJECT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 90
SECONDS_TO_STOP = 20


# The server outlives its Popen, which would warn of that when it is collected: so it is kept until `down`.
_STARTED: dict[Path, subprocess.Popen[bytes]] = {}


class CannotStart(RuntimeError):
    """The local Azure did not come up; the message ends with what it said."""


def up(state: Path, scale: float = 1.0, with_me: bool = False) -> Path:
    """A local Azure on the state folder, ready for requests: the one that runs there, or a new, empty one.

    `with_me`: it ends when this process does, however that ends.
    """
    if running(state):
        return state
    _forget(state)
    state.mkdir(parents=True, exist_ok=True)
    owner = os.getpid() if with_me else 0
    with (state / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.azure_emulator.server", str(state), str(scale), str(owner)],
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
        return process if "tests.azure_emulator.server" in process.cmdline() else None
    except (OSError, ValueError, psutil.Error):
        return None


def _forget(state: Path) -> None:
    # Each start is an empty subscription: blobs and logs of an earlier one would belong to nothing.
    for name in ("azurite", "jobs", "tls"):
        shutil.rmtree(state / name, ignore_errors=True)
    for name in ("ready", "control", "proxy", "environment.json", "az-login.json"):
        (state / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class LocalAzure:
    """One that runs: its state folder, the tests' channel, and what a client's environment needs."""

    state: Path
    control: Control
    environment: dict[str, str]


@contextmanager
def local_azure(state: Path, scale: float = 1.0) -> Iterator[LocalAzure]:
    """A local Azure for the length of a block, with its addresses in this process's environment."""
    up(state, scale, with_me=True)
    before = dict(os.environ)
    try:
        found = LocalAzure(state, Control(state), environment(state))
        os.environ.update(found.environment)
        yield found
    finally:
        os.environ.clear()
        os.environ.update(before)
        down(state)
