"""Revisions of container apps as processes of this machine. None sleeps: scaling to zero is not emulated."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from azure_emulator.container_apps.resources import HOST
from azure_emulator.machine_learning.images import PULL
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.scoring.container import Container
from azure_emulator.scoring.image import BuildFailed, build
from azure_emulator.state import EmulatorState

_RESTART_SECONDS = 0.5


class Failed(Exception):
    """A revision that cannot run; the message is the reason."""


class ContainerApps:
    """The running revisions, and the images that registries have built: reference → folder of the build context."""

    patience = 60.0

    def __init__(self, emulator: EmulatorState) -> None:
        self._emulator = emulator
        self._running: dict[str, Container] = {}
        self.images: dict[str, Path] = {}

    def deploy(self, app: Resource) -> None:
        """Start the app's newest revision in the background, unless it runs."""
        name, template = app.properties["latestRevisionName"], app.properties["template"]
        id = f"{app.id}/revisions/{name}"
        if self._emulator.resources.find(id):
            return
        body = {
            "properties": {
                "active": True,
                "provisioningState": "Provisioning",
                "runningState": "Processing",
                "healthState": "None",
                "template": template,
            }
        }
        revision = self._emulator.resources.keep(id, body, "", {})
        threading.Thread(target=self._start, args=(app, revision), name=name, daemon=True).start()

    def address(self, revision: str) -> str | None:
        """Return the loopback address of a revision's container; None when it does not run."""
        container = self._running.get(revision.lower())
        return f"http://127.0.0.1:{container.port(container.serves)}" if container else None

    def stop(self, revision: str) -> None:
        container = self._running.pop(revision.lower(), None)
        if container:
            container.stop()

    def stop_all(self, app: str = "") -> None:
        for id in [id for id in self._running if id.startswith(app.lower())]:
            self.stop(id)

    def kill_all(self) -> None:
        for container in list(self._running.values()):
            container.kill()

    def log(self, revision: str) -> str:
        container = self._running.get(revision.lower())
        return container.tail(200) if container else ""

    def at(self, host: str) -> tuple[Resource, str] | None:
        """Return the app of a host that its ingress serves, and the id of the revision that answers."""
        for app in self._emulator.resources.of_type("Microsoft.App/containerApps"):
            ingress = (app.properties.get("configuration") or {}).get("ingress") or {}
            if not ingress.get("external") or not ingress.get("fqdn"):
                continue
            domain = ingress["fqdn"].partition(".")[2]
            if host == ingress["fqdn"]:
                return app, f"{app.id}/revisions/{_by_traffic(app, ingress)}"
            label = host.removesuffix(f".{domain}")
            if host.endswith(domain) and label.startswith(f"{app.body['name']}--"):
                return app, f"{app.id}/revisions/{label}"
        return None

    def is_known(self, host: str) -> bool:
        """Return whether an environment has this host: its wildcard name resolves with and without ingress."""
        environments = self._emulator.resources.of_type("Microsoft.App/managedEnvironments")
        return host.endswith(HOST) and any(
            host.endswith(f".{environment.properties['defaultDomain']}") for environment in environments
        )

    def _start(self, app: Resource, revision: Resource) -> None:
        emulator, shown = self._emulator, revision.properties
        container = Container(emulator.folder / "containers", Path(sys.executable), _RESTART_SECONDS)
        try:
            self._run(app, container, shown["template"])
        except (Failed, BuildFailed) as e:
            container.kill()
            shown.update(provisioningState="Failed", healthState="Unhealthy", runningState="Failed")
            shown["provisioningError"] = str(e)
            return
        container.ready = True
        self._running[revision.id.lower()] = container
        shown.update(provisioningState="Provisioned", healthState="Healthy", runningState="Running")
        app.properties["latestReadyRevisionName"] = name_of(revision.id)
        if emulator.resources.find(app.id) is None or emulator.closing.is_set():
            self.stop(revision.id)

    def _run(self, app: Resource, container: Container, template: dict[str, Any]) -> None:
        asked = template["containers"][0]
        image = build(self._pulled(app, asked["image"]), "Dockerfile", container.folder / "root")
        if asked.get("command") or asked.get("args"):
            image.command = [*(asked.get("command") or image.command), *(asked.get("args") or [])]
        probe = next((each for each in asked.get("probes") or [] if each["type"] == "Readiness"), None)
        if probe is None:
            raise Failed("the local Azure needs a readiness probe to know when the container serves")
        port = int(probe["httpGet"]["port"])
        container.serves = port
        secrets = {s["name"]: s.get("value", "") for s in app.properties["configuration"].get("secrets") or []}
        given = {
            each["name"]: secrets[each["secretRef"]] if each.get("secretRef") else each.get("value", "")
            for each in asked.get("env") or []
        }
        given |= self._emulator.container_environment | self._identity(app)
        container.start(image, {port}, given)
        address = f"http://127.0.0.1:{container.port(port)}{probe['httpGet']['path']}"
        deadline = time.monotonic() + self.patience
        while not _answers(address):
            if container.exit_code is not None:
                raise Failed(f"container '{asked['name']}' ended with {container.exit_code}: {container.tail(20)}")
            if time.monotonic() > deadline or self._emulator.closing.wait(0.1):
                raise Failed(f"the readiness probe failed: {container.tail(20)}")

    def _pulled(self, app: Resource, reference: str) -> Path:
        """Return the build context of an image. Raises Failed where it does not exist, or may not be pulled."""
        emulator, server = self._emulator, reference.partition("/")[0]
        registry = next(
            (
                each
                for each in emulator.resources.of_type("Microsoft.ContainerRegistry/registries")
                if each.properties["loginServer"] == server
            ),
            None,
        )
        if registry is not None:
            named = app.properties["configuration"].get("registries") or []
            identity = next((each["identity"] for each in named if each["server"] == server), "")
            oid = self._principal(identity)
            if not (oid and emulator.authorization.allows(oid, PULL, registry.id)):
                raise Failed(f"Failed to pull image '{reference}': UNAUTHORIZED: the identity lacks AcrPull")
        if reference.partition("@")[0] not in self.images:
            raise Failed(f"Failed to pull image '{reference}': MANIFEST_UNKNOWN: manifest is not known")
        return self.images[reference.partition("@")[0]]

    def _principal(self, identity: str) -> str:
        found = self._emulator.resources.find(identity)
        return found.properties["principalId"] if found else ""

    def _identity(self, app: Resource) -> dict[str, str]:
        """Return the variables by which Azure's clients in the container get tokens of its identity."""
        for id in (app.body.get("identity") or {}).get("userAssignedIdentities") or {}:
            found = self._emulator.resources.find(id)
            if found:
                endpoint = self._emulator.runner.endpoint
                secret = endpoint.open(found.properties["principalId"], found.properties["clientId"])
                return {"IDENTITY_ENDPOINT": endpoint.address, "IDENTITY_HEADER": secret}
        return {}


def _by_traffic(app: Resource, ingress: dict[str, Any]) -> str:
    weights = ingress.get("traffic") or [{"latestRevision": True, "weight": 100}]
    chosen = max(weights, key=lambda each: each.get("weight") or 0)
    return chosen.get("revisionName") or app.properties["latestRevisionName"]


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
