"""Provisions a deployment: builds its image, mounts its model, starts its container and waits for its probes."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from azure_emulator.blob_storage.blob_operations import READ
from azure_emulator.blob_storage.blob_path import BlobPath
from azure_emulator.jobs.data import JobFailed, fetch
from azure_emulator.machine_learning import endpoints
from azure_emulator.machine_learning.addresses import blob_path
from azure_emulator.machine_learning.clusters import seconds_of
from azure_emulator.machine_learning.images import PULL, registry_without_pull_access
from azure_emulator.resource_manager.resource_ids import name_of, parent_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.scoring.container import Container, Route
from azure_emulator.scoring.faults import Fault
from azure_emulator.scoring.image import BuildFailed, Image, build
from azure_emulator.state import EmulatorState, ProvisioningFailed

_GUIDE = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-"
_MACHINE_SECONDS = 2.0
_BUILD_SECONDS = 1.0
_RESTART_SECONDS = 10.0
ROUTES = ("livenessRoute", "readinessRoute", "scoringRoute")


class DeploymentProvisioner:
    """Provisions deployments, each in its own thread.

    `patience` is the minimum number of real seconds that a container has to get ready, because a real process does not
    start faster at a small scale.
    """

    def __init__(self, emulator: EmulatorState) -> None:
        self._emulator = emulator
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self.patience = 60.0

    def start(self, deployment: Resource, done: Callable[[ProvisioningFailed | None], None]) -> None:
        thread = threading.Thread(target=self._run, args=(deployment, done), name="rollout", daemon=True)
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()

    def close(self) -> None:
        """End all provisioning."""
        self._closing.set()
        for thread in self._threads:
            thread.join(10)

    def _run(self, deployment: Resource, done: Callable[[ProvisioningFailed | None], None]) -> None:
        try:
            self._bring_up(deployment)
        except ProvisioningFailed as e:
            done(e)
        except JobFailed as e:
            done(ProvisioningFailed("BadArgument", f"Downloading the model failed: {e.message} {_GUIDE}badargument"))
        except Exception as e:
            done(ProvisioningFailed("InternalServerError", f"The local Azure failed: {e!r}"))
            raise
        else:
            done(None)

    def _bring_up(self, deployment: Resource) -> None:
        emulator = self._emulator
        endpoint = emulator.resources.find(parent_of(deployment.id))
        live = emulator.scoring.of(parent_of(deployment.id))
        environment = emulator.resources.find(deployment.properties["environmentId"])
        if endpoint is None or live is None or environment is None:
            raise ProvisioningFailed("ResourceNotFound", "The endpoint or the environment was deleted meanwhile.")
        fault = emulator.scoring.faults.draw(name_of(deployment.id))
        self._wait(_MACHINE_SECONDS + (fault.seconds if fault and fault.kind == "slow" else 0.0))
        container = Container(
            emulator.folder / "containers", Path(sys.executable), _RESTART_SECONDS * emulator.clock.scale
        )
        slot = live.deployment(name_of(deployment.id))
        try:
            image = self._image(environment, container)
            self._require_pull(endpoint, environment)
            model = self._mount(deployment, endpoint, container)
            routes = {key: _route(environment, key) for key in ROUTES}
            given = self._given(deployment, endpoint, model)
            container.start(image, {route.port for route in routes.values()}, given)
            self._until_ready(deployment, container, routes, fault)
        except BaseException:
            container.kill()
            old, slot.failed = slot.failed, container
            if old:
                old.clear()
            raise
        self._swap(deployment, container, routes["scoringRoute"], fault)

    def _swap(self, deployment: Resource, container: Container, route: Route, fault: Fault | None) -> None:
        emulator = self._emulator
        live = emulator.scoring.of(parent_of(deployment.id))
        if live is None or emulator.resources.find(deployment.id) is None:
            container.kill()
            container.clear()
            raise ProvisioningFailed("OperationCanceled", "The deployment was deleted while it was provisioned.")
        slot = live.deployment(name_of(deployment.id))
        old, failed = slot.container, slot.failed
        container.ready = True
        slot.container, slot.failed, slot.route = container, None, route
        slot.play(fault)
        for replaced in filter(None, (old, failed)):
            replaced.stop()
            replaced.clear()

    def _image(self, environment: Resource, container: Container) -> Image:
        """Build the environment's image on its first use in the workspace."""
        emulator, config = self._emulator, environment.properties.get("build")
        if not config:
            raise ProvisioningFailed(
                "ImageBuildFailure", "The local Azure serves only images that it builds, none from a registry."
            )
        if not emulator.jobs.is_built(environment.id):
            self._wait(_BUILD_SECONDS)
            if emulator.jobs.build_fails:
                raise ProvisioningFailed("ImageBuildFailure", f"Image build failed. {_GUIDE}imagebuildfailure")
        context = container.folder / "context"
        workspace = parent_of(parent_of(environment.id))
        try:
            fetch(
                emulator.blobs.store,
                blob_path(emulator, workspace, config["contextUri"]),
                context,
                self._closing.is_set,
            )
            image = build(context, config["dockerfilePath"], container.folder / "root")
        except (BuildFailed, JobFailed) as e:
            reason = e.message if isinstance(e, JobFailed) else str(e)
            raise ProvisioningFailed(
                "ImageBuildFailure", f"Image build failed: {reason} {_GUIDE}imagebuildfailure"
            ) from e
        emulator.jobs.mark_built(environment.id)
        return image

    def _require_pull(self, endpoint: Resource, environment: Resource) -> None:
        oid, _, who = endpoints.identity_of(endpoint)
        registry = registry_without_pull_access(self._emulator, parent_of(endpoint.id), oid)
        if registry:
            raise ProvisioningFailed(
                "BadArgument",
                f"Authorization error: the image of {name_of(parent_of(environment.id))} could not be "
                f"pulled from {registry.id} with identity {who}, which lacks AcrPull ({PULL}). "
                f"{_GUIDE}authorization-error",
            )

    def _mount(self, deployment: Resource, endpoint: Resource, container: Container) -> Path | None:
        """Mount the model's files read-only, with the endpoint's identity. Return the path for AZUREML_MODEL_DIR."""
        emulator, named = self._emulator, deployment.properties.get("model")
        if not named:
            return None
        id = named.removeprefix("azureml:")
        source = blob_path(emulator, parent_of(endpoint.id), id)
        oid, _, who = endpoints.identity_of(endpoint)
        scope = f"{emulator.account_scope(source.account)}/blobServices/default/containers/{source.container}"
        if not (oid and emulator.authorization.allows(oid, READ, scope, data=True)):
            raise ProvisioningFailed(
                "BadArgument",
                f"Authorization error: the model {id} could not be read from https://{source.account}"
                f".blob.core.windows.net/{source.container} with identity {who}, which lacks Storage Blob Data Reader. "
                f"{_GUIDE}authorization-error",
            )
        version = container.models / name_of(parent_of(id)) / name_of(id)
        target = version / (PurePosixPath(source.path.strip("/")).name or "model")
        shutil.copytree(self._downloaded(source), target, copy_function=os.link)
        return version

    def _downloaded(self, source: BlobPath) -> Path:
        """Download the blobs into a local folder, cached until they change."""
        store = self._emulator.blobs.store
        listed = "\n".join(f"{blob.path} {blob.etag}" for blob in store.list(source))
        key = hashlib.sha256(f"{source}\n{listed}".encode()).hexdigest()
        place = self._emulator.folder / "models" / key
        if not place.exists():
            part = place.with_name(f"{key}-{threading.get_ident()}")
            fetch(store, source, part, self._closing.is_set)
            if place.exists():
                shutil.rmtree(part)
            else:
                part.rename(place)
        return place

    def _given(self, deployment: Resource, endpoint: Resource, model: Path | None) -> dict[str, str]:
        emulator = self._emulator
        given = dict(deployment.properties.get("environmentVariables") or {})
        given.update(emulator.container_environment)
        if model:
            given["AZUREML_MODEL_DIR"] = str(model)
        oid, client_id, _ = endpoints.identity_of(endpoint)
        if oid and client_id:
            given["MSI_ENDPOINT"] = emulator.runner.endpoint.address
            given["MSI_SECRET"] = emulator.runner.endpoint.open(oid, client_id)
            given["DEFAULT_IDENTITY_CLIENT_ID"] = client_id
        return given

    def _until_ready(
        self, deployment: Resource, container: Container, routes: dict[str, Route], fault: Fault | None
    ) -> None:
        """Wait until the container's probes succeed. Raises ProvisioningFailed (ResourceNotReady)."""
        never = fault is not None and fault.kind == "never_ready"
        for key, route in (("livenessProbe", "livenessRoute"), ("readinessProbe", "readinessRoute")):
            probe = deployment.properties[key]
            delay, period = (seconds_of(probe[name]) or 0.0 for name in ("initialDelay", "period"))
            allowed = (delay + period * probe["failureThreshold"]) * self._emulator.clock.scale
            deadline = time.monotonic() + (allowed if never else max(allowed, self.patience))
            address = f"http://127.0.0.1:{container.port(routes[route].port)}{routes[route].path}"
            refuses = never and key == "readinessProbe"
            while refuses or not _answers(address, seconds_of(probe["timeout"]) or 2.0):
                if container.exit_code is not None:
                    raise ProvisioningFailed(
                        "ResourceNotReady",
                        f"User container has crashed or terminated with exit code {container.exit_code}. "
                        f"{_GUIDE}resourcenotready",
                    )
                if time.monotonic() > deadline:
                    raise ProvisioningFailed(
                        "ResourceNotReady",
                        f"User container did not get ready: {key} at {routes[route].path} failed "
                        f"{probe['failureThreshold']} times. {_GUIDE}resourcenotready",
                    )
                if self._closing.wait(min(max(period * self._emulator.clock.scale, 0.05), 0.5)):
                    raise ProvisioningFailed("OperationCanceled", "The local Azure is shutting down.")

    def _wait(self, seconds: float) -> None:
        if self._closing.wait(seconds * self._emulator.clock.scale):
            raise ProvisioningFailed("OperationCanceled", "The local Azure is shutting down.")


def _route(environment: Resource, key: str) -> Route:
    found: dict[str, Any] | None = environment.properties["inferenceConfig"].get(key)
    if not found or not found.get("port") or not str(found.get("path", "")).startswith("/"):
        raise ProvisioningFailed(
            "BadArgument", f"The environment's inferenceConfig has no {key} with a path and a port."
        )
    return Route(found["path"], int(found["port"]))


def _answers(address: str, timeout: float) -> bool:
    try:
        return 200 <= httpx.get(address, timeout=timeout, trust_env=False).status_code < 400
    except httpx.HTTPError:
        return False
