"""The processes of an endpoint on this machine: its router, and one server per deployment."""

import errno
import hashlib
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.backends.local.serving.state import HOST, DeploymentState

PROJECT = Path(__file__).resolve().parents[4]
HERE = Path(__file__).resolve().parent
# Below the range from which systems draw ports for outgoing connections, so that nothing takes a port that is at rest.
STABLE_PORTS = range(20_000, 32_000)
READY_TIMEOUT_SECONDS = 300.0
ROUTER_READY_SECONDS = 60.0
# An answer in the making when its deployment is replaced gets this long to end.
GRACE_SECONDS = 75.0
PROGRESS_SECONDS = 5.0
_POLL_SECONDS = 0.2


class EndpointError(RuntimeError):
    """The endpoint could not be brought to the state that was asked for; what served before still does."""


class AddressTaken(EndpointError):
    """Another process listens on the endpoint's port."""


def serving_digest() -> str:
    """SHA-256 over the code that answers."""
    return _digest(sorted((PROJECT / "serving_code").glob("*.py")))


def router_digest() -> str:
    """SHA-256 over the code that routes."""
    shared = [PROJECT / "serving_code" / f"{name}.py" for name in ("disconnect", "errors", "limits", "logs")]
    return _digest([HERE / "router.py", HERE / "state.py", *shared])


def stable_listener() -> socket.socket:
    """A listening socket on a free port that will stay free while nothing listens on it."""
    for port in random.sample(STABLE_PORTS, 200):
        try:
            return listener(port)
        except AddressTaken:
            continue
    raise EndpointError(f"no free port between {STABLE_PORTS.start} and {STABLE_PORTS.stop}; stop some servers")


def listener(port: int) -> socket.socket:
    """A listening socket on this port. Raises AddressTaken."""
    try:
        return socket.create_server((HOST, port), backlog=1024)
    except OSError as e:
        if e.errno != errno.EADDRINUSE:
            raise
        raise AddressTaken(
            f"another process listens on {HOST}:{port}, which is this endpoint's address; stop it"
        ) from e


def preferably(port: int) -> socket.socket:
    """A listening socket on this port, or on a free one if it is taken."""
    try:
        return listener(port)
    except AddressTaken:
        return stable_listener()


def start_router(process: ServerProcess, folder: Path, listening: socket.socket) -> None:
    """The router answers on the socket, which it keeps. Raises EndpointError with its last words."""
    with listening:
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "phi_assets.backends.local.serving.router", "--folder", str(folder)]
        process.start(command, listener=listening, environment=_environment({}), cwd=PROJECT)
    await_ready(process, port, "/livez", ROUTER_READY_SECONDS, log=lambda _: None)


def start_deployment(
    process: ServerProcess, deployment: DeploymentState, key: str, listening: socket.socket, keeping: Sequence[str]
) -> None:
    """The deployment's server listens on the socket and loads its model. `keeping` says where answers are kept."""
    command = [sys.executable, "-m", "serving_code", "--model", deployment.model_dir, "--deployment", deployment.name]
    command += ["--model-name", deployment.model_name, "--model-version", deployment.model_version]
    command += ["--model-digest", deployment.model_digest, *keeping]
    with listening:
        process.start(command, listener=listening, environment=_environment({"SERVING_KEY": key}), cwd=PROJECT)


def await_ready(process: ServerProcess, port: int, path: str, timeout: float, *, log: Callable[[str], None]) -> None:
    """The server has answered 200 on the path. Raises EndpointError when it ends, or is not ready in time (seconds)."""
    started = said = time.monotonic()
    while True:
        if answers(port, path):
            return
        now = time.monotonic()
        if not process.alive():
            raise EndpointError(f"{process.name} ended before it was ready; its last words:\n{process.last_words()}")
        if now - started > timeout:
            raise EndpointError(
                f"{process.name} was not ready after {timeout:.0f} s; its last words:\n{process.last_words()}"
            )
        if now - said >= PROGRESS_SECONDS:
            log(f"{process.name} is loading its model: {now - started:.0f} s so far, at most {timeout:.0f} s")
            said = now
        time.sleep(_POLL_SECONDS)


def answers(port: int, path: str, timeout: float = 5.0) -> bool:
    """Whether GET `path` on this port gives 200 within `timeout` seconds."""
    import httpx

    try:
        with httpx.Client(trust_env=False, timeout=timeout) as client:
            return client.get(f"http://{HOST}:{port}{path}").status_code == 200
    except httpx.HTTPError:
        return False


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would steer the server, or end it with this process."""
    steering = ("SERVING_", "AZUREML_", "PHI_LIFELINE", "DAGSTER_PIPES_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    return {**kept, "PYTHONPATH": str(PROJECT), "TOKENIZERS_PARALLELISM": "false", **extra}


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
