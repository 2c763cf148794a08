"""Runs a server in a subprocess during a block."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping

import httpx


@contextlib.contextmanager
def running(command: list[str], environment: Mapping[str, str], ready: str) -> Iterator[None]:
    """Start the server and wait until `ready` answers 200; stop it at the end of the block."""
    log = subprocess.DEVNULL
    with subprocess.Popen(command, env=dict(environment), start_new_session=True, stdout=log, stderr=log) as server:
        try:
            _wait_until(ready, server)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def _wait_until(ready: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(ready, timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"{ready} did not answer 200")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
