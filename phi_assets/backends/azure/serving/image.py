"""The serving environment: an image with the server and its packages, versioned by the hash of both."""

import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from phi_assets import code_digest, files
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.infrastructure import ml_environment
from phi_assets.backends.azure.infrastructure.ml_environment import DIGITS
from phi_assets.files import ENVIRONMENT, NEVER_UPLOADED
from phi_assets.ports.base import Log
from phi_assets.project import PROJECT

if TYPE_CHECKING:
    from azure.ai.ml.entities import Environment

NAME = "phi-serving"
CODE = PROJECT / "serving_code"
FOLDER = CODE / ENVIRONMENT
CONTEXT = "phi-serving"  # the uploaded folder's name
PORT = 5001
ROUTES = {
    "liveness_route": {"port": PORT, "path": "/livez"},
    "readiness_route": {"port": PORT, "path": "/readyz"},
    # The scoring path is the root, so that clients can append /score or /v1/chat/completions.
    "scoring_route": {"port": PORT, "path": "/"},
}


@cache
def digest() -> str:
    """SHA-256 over the image's recipe and the server that is copied into it."""
    trees = [code_digest.of_trees([CODE]), files.tree_sha256(FOLDER)]
    return hashlib.sha256(f"{trees}\n{sorted(ROUTES.items())}".encode()).hexdigest()


def version() -> str:
    return digest()[:DIGITS]


def id_in(workspace: str) -> str:
    return ml_environment.id_in(workspace, NAME, version())


def ensure(clients: AzureClients, role_minutes: float, log: Log) -> None:
    """Register the environment of this content. Raises AzureRefused."""
    with tempfile.TemporaryDirectory() as folder:
        ml_environment.ensure(clients, NAME, version(), lambda: _environment(stage(Path(folder))), role_minutes, log)


def stage(folder: Path) -> Path:
    """Copy the build context: the Dockerfile, the requirements, and the server."""
    return copy_server(CODE, FOLDER, folder / CONTEXT)


def copy_server(code: Path, environment: Path, root: Path) -> Path:
    """Copy a server's build context: what its folder `environment` holds, and the server's other sources."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        return {*NEVER_UPLOADED(folder, names), *({ENVIRONMENT} if Path(folder) == code else ())}

    # The folder exists when the registration is retried after a lost response.
    shutil.copytree(environment, root, ignore=NEVER_UPLOADED, dirs_exist_ok=True)
    shutil.copytree(code, root / code.name, ignore=left_out, dirs_exist_ok=True)
    return root


def _environment(context: Path) -> "Environment":
    from azure.ai.ml.entities import BuildContext, Environment

    return Environment(
        name=NAME,
        version=version(),
        build=BuildContext(path=str(context)),
        inference_config=ROUTES,
        description="The environment in which phi-assets serves.",
        tags={"digest": digest()},
    )
