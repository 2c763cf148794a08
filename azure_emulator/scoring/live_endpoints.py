"""The gateway's state of each endpoint, separate from ARM's resources so that no request waits for ARM."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from azure_emulator.resource_manager.resource_ids import name_of, parent_of
from azure_emulator.scoring.container import Container, Route
from azure_emulator.scoring.faults import DeploymentFaults, Fault

HOST = ".inference.ml.azure.com"
_SECONDS_TO_DRAIN = 30.0


@dataclass
class LiveDeployment:
    """A deployment, which serves once it has a container; `failed` is the last container that did not start."""

    name: str
    container: Container | None = None
    failed: Container | None = None
    route: Route = field(default_factory=lambda: Route("/", 0))
    max_concurrent_requests: int = 2
    timeout: float = 5.0
    in_flight: int = 0
    routed: int = 0
    fault: Fault | None = None

    @property
    def address(self) -> str | None:
        return f"http://127.0.0.1:{self.container.port(self.route.port)}" if self.container else None

    def play(self, fault: Fault | None) -> None:
        """Apply the fault from now on and restart its request count."""
        self.fault, self.routed = fault, 0
        if fault and fault.kind == "crash" and fault.after_requests is None and self.container:
            threading.Timer(fault.seconds, self.container.crash).start()

    def tail(self, lines: int) -> str:
        shown = self.failed or self.container
        return shown.tail(lines) if shown else ""


@dataclass
class LiveEndpoint:
    """An endpoint's keys, traffic, deployments and request counts."""

    id: str
    host: str
    auth_mode: str
    keys: dict[str, str]
    traffic: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, int]] = field(default_factory=lambda: [{}])
    deployments: dict[str, LiveDeployment] = field(default_factory=dict)
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    ready: bool = False

    def shift(self, traffic: dict[str, int]) -> None:
        """Change the traffic split."""
        if traffic != self.traffic:
            self.traffic = dict(traffic)
            self.history.append(dict(traffic))

    def choose(self) -> str | None:
        """Choose a deployment for the next request by the traffic's weights."""
        names = [name for name, share in self.traffic.items() if share > 0]
        return random.choices(names, [self.traffic[n] for n in names])[0] if names else None

    def deployment(self, name: str) -> LiveDeployment:
        return self.deployments.setdefault(name, LiveDeployment(name))


class LiveEndpoints:
    """All endpoints by host name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_host: dict[str, LiveEndpoint] = {}
        self.faults = DeploymentFaults()

    def open(self, id: str, location: str, auth_mode: str, keys: dict[str, Any]) -> LiveEndpoint:
        """Return the endpoint of the id, created if it is new, with the given or generated keys."""
        host = f"{name_of(id).lower()}.{location.lower()}{HOST}"
        with self._lock:
            found = self._by_host.get(host)
            if found is None:
                made = {kind: keys.get(kind) or new_key() for kind in ("primaryKey", "secondaryKey")}
                found = self._by_host[host] = LiveEndpoint(id, host, auth_mode, made)
            found.auth_mode = auth_mode
            return found

    def at(self, host: str) -> LiveEndpoint | None:
        return self._by_host.get(host)

    def of(self, id: str) -> LiveEndpoint | None:
        return next((e for e in list(self._by_host.values()) if e.id.lower() == id.rstrip("/").lower()), None)

    def named(self, name: str) -> LiveEndpoint:
        """Return the endpoint by name. Raises KeyError."""
        for endpoint in list(self._by_host.values()):
            if name_of(endpoint.id).lower() == name.lower():
                return endpoint
        raise KeyError(f"there is no endpoint {name}")

    def all(self) -> list[LiveEndpoint]:
        return list(self._by_host.values())

    def close(self, id: str) -> None:
        """Remove the endpoint's host name and end its containers."""
        found = self.of(id)
        if found:
            self._by_host.pop(found.host, None)
            for deployment in list(found.deployments.values()):
                end(deployment)

    def remove(self, deployment_id: str) -> None:
        """Remove the deployment; its container ends after its requests in flight."""
        endpoint = self.of(parent_of(deployment_id))
        if endpoint:
            removed = endpoint.deployments.pop(name_of(deployment_id), None)
            if removed:
                end(removed)

    def clear_faults(self) -> None:
        """Remove all planned and active faults; crashed containers stay down."""
        self.faults.clear()
        for endpoint in self.all():
            for deployment in list(endpoint.deployments.values()):
                deployment.fault = None

    def kill_all(self) -> None:
        for endpoint in self.all():
            for deployment in list(endpoint.deployments.values()):
                for container in filter(None, (deployment.container, deployment.failed)):
                    container.kill()


def end(deployment: LiveDeployment) -> None:
    """End the deployment's containers in the background."""
    threading.Thread(target=_end, args=(deployment,), name="container-end", daemon=True).start()


def _end(deployment: LiveDeployment) -> None:
    # Requests in flight still get their responses.
    deadline = time.monotonic() + _SECONDS_TO_DRAIN
    while deployment.in_flight and time.monotonic() < deadline:
        time.sleep(0.05)
    for container in filter(None, (deployment.container, deployment.failed)):
        container.stop()
        container.clear()


def new_key() -> str:
    return secrets.token_urlsafe(32)
