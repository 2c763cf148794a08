"""Starts the processes of an endpoint on this machine: its router, and one server per deployment."""

import errno
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from phi_assets import child_environment, code_digest
from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.backends.local.serving.state import HOST, DeploymentState
from phi_assets.project import PROJECT

HERE = Path(__file__).resolve().parent
# Below the range of ephemeral ports, so that no outgoing connection takes the port while the endpoint is stopped.
STABLE_PORTS = range(20_000, 32_000)
READY_TIMEOUT_SECONDS = 300.0
ROUTER_READY_SECONDS = 60.0
# Time for running requests to finish when their deployment is replaced.
GRACE_SECONDS = 75.0
PROGRESS_SECONDS = 5.0
_POLL_SECONDS = 0.2


class EndpointError(RuntimeError):
    """The endpoint could not reach the requested state; the previous deployment keeps serving."""


class AddressTaken(EndpointError):
    """Another process listens on the endpoint's port."""


def serving_digest() -> str:
    """Return the SHA-256 of the serving code."""
    return code_digest.of_trees([PROJECT / "serving_code"])


def router_digest() -> str:
    """Return the SHA-256 of the router's code."""
    shared = [PROJECT / "serving_code" / f"{name}.py" for name in ("disconnect", "errors", "limits", "logs")]
    return code_digest.of_files([HERE / "router.py", HERE / "state.py", *shared])


def stable_listener() -> socket.socket:
    """Return a listening socket on a free port that other programs are unlikely to take later."""
    for port in random.sample(STABLE_PORTS, 200):
        try:
            return listener(port)
        except AddressTaken:
            continue
    raise EndpointError(f"no free port between {STABLE_PORTS.start} and {STABLE_PORTS.stop}; stop some servers")


def listener(port: int) -> socket.socket:
    """Return a listening socket on this port. Raises AddressTaken."""
    try:
        return socket.create_server((HOST, port), backlog=1024)
    except OSError as e:
        if e.errno != errno.EADDRINUSE:
            raise
        raise AddressTaken(
            f"another process listens on {HOST}:{port}, which is this endpoint's address; stop it"
        ) from e


def preferred_listener(port: int) -> socket.socket:
    """Return a listening socket on this port, or on a free one if it is taken."""
    try:
        return listener(port)
    except AddressTaken:
        return stable_listener()


def start_router(process: ServerProcess, folder: Path, listening: socket.socket) -> None:
    """Start the router on the socket and wait until it answers. Raises EndpointError with the end of its log."""
    with listening:
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "phi_assets.backends.local.serving.router", "--folder", str(folder)]
        process.start(command, listener=listening, environment=_environment(child_environment.ROUTER), cwd=PROJECT)
    await_ready(process, port, "/livez", ROUTER_READY_SECONDS, log=lambda _: None)


def start_deployment(
    process: ServerProcess,
    deployment: DeploymentState,
    key: str,
    listening: socket.socket,
    answer_options: Sequence[str],
) -> None:
    """Start the deployment's server on the socket. `answer_options` are its options for answers and traces."""
    command = [sys.executable, "-m", "serving_code", "--model", deployment.model_dir, "--deployment", deployment.name]
    command += ["--model-name", deployment.model_name, "--model-version", deployment.model_version]
    command += ["--model-digest", deployment.model_digest, *answer_options]
    with listening:
        environment = _environment(child_environment.LOCAL_PROGRAM, SERVING_KEY=key)
        process.start(command, listener=listening, environment=environment, cwd=PROJECT)


def await_ready(process: ServerProcess, port: int, path: str, timeout: float, *, log: Callable[[str], None]) -> None:
    """Wait until the server answers 200. Raises EndpointError when it ends, or after `timeout` seconds."""
    started = reported = time.monotonic()
    while True:
        if answers(port, path):
            return
        now = time.monotonic()
        if not process.alive():
            raise EndpointError(f"{process.name} ended before it was ready; the end of its log:\n{process.log_tail()}")
        if now - started > timeout:
            raise EndpointError(
                f"{process.name} was not ready after {timeout:.0f} s; the end of its log:\n{process.log_tail()}"
            )
        if now - reported >= PROGRESS_SECONDS:
            log(f"{process.name} is loading its model: {now - started:.0f} s so far, at most {timeout:.0f} s")
            reported = now
        time.sleep(_POLL_SECONDS)


def answers(port: int, path: str, timeout: float = 5.0) -> bool:
    """Return whether GET `path` on this port gives 200 within `timeout` seconds."""
    import httpx

    try:
        with httpx.Client(trust_env=False, timeout=timeout) as client:
            return client.get(f"http://{HOST}:{port}{path}").status_code == 200
    except httpx.HTTPError:
        return False


def _environment(groups: Sequence[child_environment.Group], **variables: str) -> dict[str, str]:
    """Return a server's environment: no secret, and nothing that configures the server or ties it to this process."""
    own = {"PYTHONPATH": str(PROJECT), "TOKENIZERS_PARALLELISM": "false"}
    return {**child_environment.allowed(*groups), **own, **variables}
