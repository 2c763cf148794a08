"""The serving environment: an image with the server and its packages, known by the hash of both."""

import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path

from phi_assets import versions
from phi_assets.backends.azure import live_state
from phi_assets.backends.azure.clients import AzureClients
from phi_assets.backends.azure.environment import DIGITS
from phi_assets.backends.azure.errors import refused
from phi_assets.backends.azure.job_spec import NEVER_UPLOADED
from phi_assets.backends.azure.listing import WORKSPACES_VERSION as VERSION
from phi_assets.backends.azure.roles import wait_for_role
from phi_assets.backends.ports import Log
from phi_assets.settings import PROJECT

NAME = "phi-serving"
CODE = PROJECT / "serving_code"
FOLDER = PROJECT / "serving_image"
CONTEXT = "phi-serving"  # the uploaded folder's name
PORT = 5001
ROUTES = {
    "liveness_route": {"port": PORT, "path": "/livez"},
    "readiness_route": {"port": PORT, "path": "/readyz"},
    # The platform's own path is the root, so that clients may append /score as well as /v1/chat/completions.
    "scoring_route": {"port": PORT, "path": "/"},
}


@cache
def digest() -> str:
    """SHA-256 over the image's recipe and the server that is copied into it."""
    trees = [versions.tree_digest(tree) for tree in (CODE, FOLDER)]
    return hashlib.sha256(f"{trees}\n{sorted(ROUTES.items())}".encode()).hexdigest()


def version() -> str:
    return digest()[:DIGITS]


def id_in(workspace: str) -> str:
    return f"{workspace}/environments/{NAME}/versions/{version()}"


def ensure(clients: AzureClients, role_minutes: float, log: Log) -> None:
    """The environment of this content is registered; Azure ML builds its image when a deployment first asks."""
    from azure.core.exceptions import HttpResponseError

    if _exists(clients):
        return
    what = f"registering the environment {NAME}:{version()}"
    log(what)
    with tempfile.TemporaryDirectory() as folder:
        context = stage(Path(folder))

        def register() -> None:
            # Asked for first at each try: an answer that was lost may have been a yes.
            if not _exists(clients):
                _register(clients, context)

        try:
            wait_for_role(register, what, log, role_minutes)
        except HttpResponseError as e:
            raise refused(what, e) from e


def stage(folder: Path) -> Path:
    """The build context: the Dockerfile, the requirements, and the server."""
    root = folder / CONTEXT
    shutil.copytree(FOLDER, root, ignore=NEVER_UPLOADED)
    shutil.copytree(CODE, root / CODE.name, ignore=NEVER_UPLOADED)
    return root


def _exists(clients: AzureClients) -> bool:
    return live_state.get_or_none(clients, id_in(clients.resource("ml_workspace")), VERSION) is not None


def _register(clients: AzureClients, context: Path) -> None:
    environments = clients.ml().environments
    from azure.ai.ml.entities import BuildContext, Environment

    environments.create_or_update(
        Environment(
            name=NAME,
            version=version(),
            build=BuildContext(path=str(context)),
            inference_config=ROUTES,
            description="What phi-assets serves with.",
            tags={"digest": digest()},
        )
    )
