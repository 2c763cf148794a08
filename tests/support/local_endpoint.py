"""Helpers for tests of the local endpoint: deploy, ask, kill a process, poll, and a smoke test."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from phi_assets.backends.local.serving.endpoint import LocalEndpoint
from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.backends.local.serving.state import DeploymentState

QUESTION = {"messages": [{"role": "user", "content": "How do I reset the pump?"}], "max_tokens": 4}


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until `holds` returns true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"the condition was not met within {seconds:g} s"
        time.sleep(0.05)


def ask(endpoint: LocalEndpoint, deployment: str | None = None, **fields) -> httpx.Response:
    """Send one question to the endpoint's address."""
    headers = {"Authorization": f"Bearer {endpoint.key()}"}
    if deployment:
        headers["azureml-model-deployment"] = deployment
    state = endpoint.state()
    assert state
    url = f"{state.address}/v1/chat/completions"
    return httpx.post(url, json={**QUESTION, **fields}, headers=headers, timeout=60, trust_env=False)


def smoke(address: str, key: str, deployment: str) -> None:
    """Send one question to a given deployment, which must answer."""
    headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": deployment}
    answer = httpx.post(
        f"{address}/v1/chat/completions", json=QUESTION, headers=headers, timeout=60, trust_env=False
    ).raise_for_status()
    assert answer.headers["azureml-model-deployment"] == deployment


def deploy(endpoint: LocalEndpoint, model: Path, version: str, **options) -> DeploymentState:
    """Deploy a version of a model."""
    options = {"smoke": smoke, "log": lambda _: None, **options}
    return endpoint.deploy(model, model_name="tiny", model_version=version, model_digest=f"sha-{version}", **options)


def served_by(endpoint: LocalEndpoint) -> tuple[str, str]:
    """Return the deployment and the model version that answer a question without a deployment header."""
    answer = ask(endpoint).raise_for_status()
    return answer.headers["azureml-model-deployment"], answer.headers["x-model-version"]


def running(endpoint: LocalEndpoint) -> set[str]:
    """Return the names of the endpoint's running processes."""
    return {name for name in ("router", "blue", "green") if ServerProcess(endpoint.folder, name).alive()}


def kill(endpoint: LocalEndpoint, name: str) -> None:
    """Send SIGKILL to the process, and wait until it has ended."""
    process = ServerProcess(endpoint.folder, name)
    pid = process.pid()
    assert pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not process.alive())


@contextmanager
def asked_all_the_time(endpoint: LocalEndpoint) -> Iterator[list[httpx.Response | Exception]]:
    """Two clients send questions during the block, one of them streaming; yields the list of outcomes."""
    outcomes: list[httpx.Response | Exception] = []
    stop = threading.Event()

    def client(stream: bool) -> None:
        while not stop.is_set() and len(outcomes) < 2000:
            try:
                outcomes.append(ask(endpoint, stream=stream, max_tokens=8))
            except httpx.HTTPError as e:
                outcomes.append(e)
            time.sleep(0.02)

    clients = [threading.Thread(target=client, args=(stream,)) for stream in (True, False)]
    for thread in clients:
        thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        for thread in clients:
            thread.join()
