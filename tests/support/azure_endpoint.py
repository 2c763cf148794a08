"""An endpoint on the local Azure with a server that starts at once, and a deployment that exits at a chosen step.

python -m tests.support.azure_endpoint HOME NAME STATE STEP MODEL
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.evaluation.registry import MODEL_NAME, AzureModelRegistry
from phi_assets.backends.azure.serving import blue_green, canary, endpoint, image
from phi_assets.backends.azure.serving.endpoint import OnlineEndpoint
from phi_assets.backends.azure.serving.host import AzureEndpointHost
from phi_assets.backends.azure.storage import blob, blob_lease
from phi_assets.records import RegisteredModel
from tests.support.azure_jobs import until
from tests.support.azure_place import Place
from tests.support.fake_records import a_model, evaluated

QUICK_SERVER = Path(__file__).parent / "quick_server" / "serving_code"
DIED = 9


def hurry(patched: pytest.MonkeyPatch, quick_server: bool = True) -> None:
    """Shorten this process's polling intervals; with `quick_server`, deploy a server that needs no model."""
    patched.setattr(endpoint, "FIRST_POLL", 0.05)
    patched.setattr(endpoint, "LONGEST_POLL", 0.2)
    patched.setattr(canary, "SECONDS_BETWEEN", 0.1)
    patched.setattr(blob_lease, "LONGEST_POLL", 0.5)
    if quick_server:
        patched.setattr(image, "CODE", QUICK_SERVER)
        patched.setattr(image, "digest", cache(image.digest.__wrapped__))


@dataclass
class Stage:
    """The online endpoint of a `Place`, with what tests do to it and assert about it."""

    place: Place

    def host(self, **more: Any) -> AzureEndpointHost:
        usual = {"vm_size": "Standard_E4s_v3", "role_minutes": 0.05, "canary_minutes": 0.0, "drain_seconds": 0.2}
        return AzureEndpointHost(account=self.place.clients.account.fields, **{**usual, **more})

    @property
    def control(self) -> Control:
        return self.place.control

    @property
    def endpoint(self) -> OnlineEndpoint:
        return OnlineEndpoint(self.place.clients, self.place.log, 0.05)

    def registered(self, weights: str) -> RegisteredModel:
        """Register a model whose weights are this text, as the registry's next version."""
        path = f"phi/training/{weights}/model"
        blobs = blob.WorkspaceBlobs(self.place.clients, self.place.log, 0.5)
        blobs.write(f"{path}/model.safetensors", weights.encode())
        blobs.write(f"{path}/config.json", b"{}")
        return self.register(weights, path)

    def register(self, weights: str, path: str) -> RegisteredModel:
        registry = AzureModelRegistry(account=self.place.clients.account.fields)
        champion = registry.champion()
        model = a_model(weights.ljust(8, "."), blob.address(path))
        evaluation = evaluated(model, f"{champion.name}/{champion.version}" if champion else None)
        return registry.register(model, evaluation, {})

    def serving(self) -> tuple[str, str]:
        """Return the only deployment, which must have all the traffic, and the model version in its answers."""
        state = self.endpoint.at_rest()
        assert state is not None
        [deployment] = state.deployments.values()
        assert state.traffic == {deployment.name: 100}
        assert deployment.serves
        assert [c["deployment"] for c in self.control.containers() if c["endpoint"] == self.endpoint.name] == [
            deployment.name
        ]
        reply = self.ask()
        assert reply.status_code == 200, reply.text
        assert reply.headers["azureml-model-deployment"] == deployment.name
        assert reply.headers["x-model-name"] == MODEL_NAME
        return deployment.name, reply.headers["x-model-version"]

    def ask(self, question: str = "Hello", key: str = "", **headers: str) -> httpx.Response:
        state = self.endpoint.read()
        assert state is not None
        return ask(state.address, key or self.host().key(), question, **headers)

    def until_traffic(self, traffic: dict[str, int]) -> None:
        until(lambda: self.control.traffic_history(self.endpoint.name)[-1] == traffic)

    def whole(self) -> None:
        """Assert that traffic always added up to 100 since the first deployment served."""
        history = self.control.traffic_history(self.endpoint.name)
        served = [sum(traffic.values()) for traffic in history if traffic]
        assert served
        assert set(served) == {100}
        assert all(history[history.index(next(filter(None, history))) :]), history


def first(place: Place) -> Stage:
    """Return an endpoint with its first deployment."""
    made = Stage(place)
    place.deploy()
    made.host().ensure_endpoint(place.log)
    made.host().deploy(made.registered("first"), place.log)
    return made


def ask(address: str, key: str, question: str = "Hello", **headers: str) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_completion_tokens": 8}
    given = {"Authorization": f"Bearer {key}", **headers}
    return httpx.post(f"{address}/v1/chat/completions", json=body, headers=given, timeout=30)


@contextmanager
def asked_all_the_time(stage: Stage, a_second: float, at_once: int = 4) -> Iterator[list[httpx.Response]]:
    """Send `a_second` questions a second during the block; yields the list that the answers are appended to."""
    state, key, over = stage.endpoint.read(), stage.host().key(), threading.Event()
    assert state is not None
    answers: list[httpx.Response] = []
    body = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_completion_tokens": 8}

    def keep_asking() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            while not over.is_set():
                began = time.monotonic()
                answers.append(client.post(f"{state.address}/v1/chat/completions", json=body))
                over.wait(max(0.0, at_once / a_second - (time.monotonic() - began)))

    threads = [threading.Thread(target=keep_asking) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def main(arguments: list[str]) -> None:
    """Deploy the registered version, and exit with `DIED` as soon as the step is reached."""
    home, name, state, step, model = arguments
    hurry(pytest.MonkeyPatch())
    shares = 0

    def die(reached: str) -> None:
        print(reached, flush=True)
        if reached == step:
            os._exit(DIED)

    send = AzureClients.send

    def send_and_die(clients: AzureClients, verb: str, address: str, body: Any = None) -> Any:
        nonlocal shares
        answer = send(clients, verb, address, body)
        at = address.partition("?")[0]
        if verb == "PUT" and "/deployments/" in at:
            die("PUT deployment")
        elif verb == "PUT":
            shares += 1
            die("PUT traffic" if shares == 1 else "PUT all traffic")
        elif verb == "DELETE":
            die("DELETE old")
        return answer

    AzureClients.send = send_and_die
    blue_green.reached = die
    stage = Stage(Place(Control(Path(state)), Path(home), name))
    stage.host().deploy(RegisteredModel.from_json(model), print)


if __name__ == "__main__":
    main(sys.argv[1:])
