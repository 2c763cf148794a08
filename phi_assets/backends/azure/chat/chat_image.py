"""The chat's image: built once per content by the container registry, from an upload of the server and its recipe."""

import hashlib
import io
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from phi_assets import code_digest, files
from phi_assets.backends.azure.client.azure_errors import AzureRefused, refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.rest import properties
from phi_assets.backends.azure.client.retry import PollTimer, with_retries
from phi_assets.backends.azure.serving.image import copy_server
from phi_assets.errors import BackendError
from phi_assets.files import ENVIRONMENT
from phi_assets.ports.base import Log
from phi_assets.project import PROJECT

REPOSITORY = "phi-chat"
CODE = PROJECT / "chat_code"
TASKS_VERSION = "2019-06-01-preview"  # of scheduleRun and runs; the registry's own versions have no builds
MINUTES = 30.0
ENDED = frozenset({"Succeeded", "Failed", "Canceled", "Error", "Timeout"})
BY_HAND = (
    "build it where Docker is (`python .ci/build_context.py chat FOLDER`, then `docker build`), push it to a registry, "
    "and set PHI_AZURE_CHAT_IMAGE to its address"
)


@cache
def digest() -> str:
    """SHA-256 over the image's recipe and the server that is copied into it."""
    trees = [code_digest.of_trees([CODE]), files.tree_sha256(CODE / ENVIRONMENT)]
    return hashlib.sha256(str(trees).encode()).hexdigest()


def ensure(clients: AzureClients, log: Log) -> str:
    """Return the image's address in this group's registry; build it unless a build of this content succeeded."""
    registry, tag = clients.resource("container_registry"), digest()[:24]
    address = f"{registry.rpartition('/')[2].lower()}.azurecr.io/{REPOSITORY}:{tag}"
    if _is_built(clients, registry, tag, log):
        return address
    log(f"building the chat's image {REPOSITORY}:{tag} in the registry, which takes minutes")
    place = _upload(clients, registry, log)
    asked = {
        "type": "DockerBuildRequest",
        "imageNames": [f"{REPOSITORY}:{tag}"],
        "isPushEnabled": True,
        "sourceLocation": place,
        "dockerFilePath": "Dockerfile",
        "platform": {"os": "Linux", "architecture": "amd64"},
        "timeout": int(MINUTES * 60),
    }
    run = _post(clients, f"{registry}/scheduleRun", asked, log)
    timer = PollTimer("building the chat's image", log, MINUTES, 1.0, 10.0)
    address_of_run = f"{run['id']}?api-version={TASKS_VERSION}"
    while properties(run).get("status") not in ENDED:
        timer.pause(str(properties(run).get("status")))
        run = with_retries("following the build", lambda: clients.get(address_of_run), log)
    if properties(run)["status"] != "Succeeded":
        raise AzureRefused(
            description=f"the chat's image was not built: {properties(run)['status']}; `az acr task logs --registry "
            f"{registry.rpartition('/')[2]} --run-id {run['name']}` tells why. Or {BY_HAND}",
            allow_retries=False,
        )
    return address


def stage(folder: Path) -> Path:
    """Copy the build context: the Dockerfile, the requirements, and the server."""
    return copy_server(CODE, CODE / ENVIRONMENT, folder / REPOSITORY)


def _is_built(clients: AzureClients, registry: str, tag: str, log: Log) -> bool:
    """Return whether a stored build has this tag. Builds that Azure has forgotten are made again."""
    found = with_retries(
        "listing the registry's builds", lambda: clients.get(f"{registry}/runs?api-version={TASKS_VERSION}"), log
    )
    return any(
        (image.get("repository"), image.get("tag")) == (REPOSITORY, tag) and properties(run)["status"] == "Succeeded"
        for run in found.get("value") or []
        for image in properties(run).get("outputImages") or []
    )


def _upload(clients: AzureClients, registry: str, log: Log) -> str:
    import httpx

    target = _post(clients, f"{registry}/listBuildSourceUploadUrl", None, log)
    with tempfile.TemporaryDirectory() as folder:
        made, packed = stage(Path(folder)), io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(made, arcname=".")
    try:
        done = httpx.put(
            target["uploadUrl"], content=packed.getvalue(), headers={"x-ms-blob-type": "BlockBlob"}, timeout=120
        )
        done.raise_for_status()
    except httpx.HTTPError as e:
        raise BackendError(f"uploading the chat's image source failed ({e!r}); run again") from e
    return str(target["relativePath"])


def _post(clients: AzureClients, address: str, body: Any, log: Log) -> dict[str, Any]:
    from azure.core.exceptions import HttpResponseError

    what = "asking the registry for a build"
    try:
        return with_retries(
            what, lambda: clients.send("POST", f"{address}?api-version={TASKS_VERSION}", body).json(), log
        )
    except HttpResponseError as e:
        if "TasksOperationsNotAllowed" in str(e):
            raise AzureRefused(
                description=f"this subscription may not build images in a registry; {BY_HAND}", allow_retries=False
            ) from e
        raise refused(what, e) from e
