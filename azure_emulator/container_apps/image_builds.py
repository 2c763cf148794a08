"""Quick builds of a container registry: an uploaded source, a Dockerfile in it, and the image that comes of it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import uuid

from azure_emulator.messages import Answer, AzureError, Call, not_found, object_of
from azure_emulator.resource_manager import put_resource
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.state import EmulatorState

UPLOADS = "acrtaskuploads.blob.core.windows.net"
_REGISTRY = "Microsoft.ContainerRegistry/registries"


def upload(emulator: EmulatorState, path: str, body: bytes) -> None:
    """Store an uploaded source."""
    emulator.uploads[path.strip("/")] = body


def _upload_url(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_REGISTRY}/listBuildSourceUploadUrl/action", id)
    place = f"sources/{uuid.uuid4().hex}/source.tar.gz"
    emulator.uploads[place] = b""
    return Answer({"uploadUrl": f"https://{UPLOADS}/{place}?sig=local", "relativePath": place})


def _schedule(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_REGISTRY}/scheduleRun/action", id)
    registry, asked = emulator.resources.find(id), object_of(call)
    if registry is None:
        raise not_found(id)
    if not emulator.registry_builds:
        raise AzureError(403, "TasksOperationsNotAllowed", "ACR Tasks requests for the registry are not permitted.")
    if asked.get("type") != "DockerBuildRequest" or (asked.get("platform") or {}).get("os") != "Linux":
        raise AzureError(400, "BadRequest", "The local Azure makes Docker builds for Linux.")
    source = emulator.uploads.get(str(asked.get("sourceLocation")))
    run, state = uuid.uuid4().hex[:4], "Succeeded"
    properties = {"runId": run, "runType": "QuickRun", "outputImages": []}
    if not source:
        state = "Failed"
    else:
        folder = emulator.folder / "images" / run
        with tarfile.open(fileobj=io.BytesIO(source)) as archive:
            archive.extractall(folder, filter="data")
        for name in asked["imageNames"]:
            repository, _, tag = name.partition(":")
            digest = f"sha256:{hashlib.sha256(source).hexdigest()}"
            emulator.container_apps.images[f"{registry.properties['loginServer']}/{name}"] = folder
            server = registry.properties["loginServer"]
            image = {"registry": server, "repository": repository, "tag": tag, "digest": digest}
            properties["outputImages"].append(image)
    body = {"properties": {**properties, "status": state, "provisioningState": "Succeeded"}}
    kept = emulator.resources.keep(f"{id}/runs/{run}", body, call.oid, {})
    return Answer({**kept.shown(), "name": name_of(kept.id)})


ROUTES = (
    ("POST", f"(?P<id>.*/{_REGISTRY}/[^/]+)/listBuildSourceUploadUrl", _upload_url),
    ("POST", f"(?P<id>.*/{_REGISTRY}/[^/]+)/scheduleRun", _schedule),
)
