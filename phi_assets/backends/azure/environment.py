"""The training environment: an image of our own, known by the hash of its folder, built once by Azure ML."""

from functools import cache
from pathlib import Path
from typing import Any

from phi_assets import versions
from phi_assets.backends.azure.clients import AzureClients
from phi_assets.backends.azure.errors import refused
from phi_assets.backends.azure.retrying import with_patience
from phi_assets.backends.azure.roles import wait_for_role
from phi_assets.backends.ports import Log
from phi_assets.records import TrainingEnvironment
from phi_assets.settings import PROJECT

NAME = "phi-training"
FOLDER = PROJECT / "training_code" / "environment"
REQUIREMENTS = FOLDER / "requirements.txt"
LOCK = PROJECT / "requirements" / "lock.txt"
DIGITS = 24  # a version of an asset has at most 30 characters
SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "dagster-pipes")


@cache
def digest() -> str:
    """SHA-256 of the folder's content."""
    return versions.tree_digest(FOLDER)


def version() -> str:
    return digest()[:DIGITS]


def reference(clients: AzureClients) -> str:
    """The environment as a job names it, in the workspace that the clients are bound to."""
    del clients
    return f"azureml:{NAME}:{version()}"


def record() -> TrainingEnvironment:
    locked = pins(REQUIREMENTS)
    return TrainingEnvironment(
        digest=digest(), name=f"{NAME}:{version()}", packages={name: locked[name] for name in SHOWN if name in locked}
    )


def exists(clients: AzureClients) -> bool:
    """Whether this very version is registered in the workspace."""
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    try:
        with_patience(f"reading the environment {NAME}", lambda: clients.ml().environments.get(NAME, version()))
    except ResourceNotFoundError:
        return False
    except HttpResponseError as e:
        raise refused(f"reading the environment {NAME}", e) from e
    return True


def ensure(clients: AzureClients, role_minutes: float, log: Log) -> TrainingEnvironment:
    """The environment of this content, registered when it is not yet; its image is built when a job first asks."""
    from azure.core.exceptions import HttpResponseError

    if not exists(clients):
        what = f"registering the environment {NAME}:{version()}"
        log(what)
        try:
            wait_for_role(lambda: _register(clients), what, log, role_minutes)
        except HttpResponseError as e:
            raise refused(what, e) from e
    return record()


def differing_packages() -> list[str]:
    """A line for each package of the environment that the lock file has in another version."""
    locked, used = pins(LOCK), pins(REQUIREMENTS)
    return [
        f"{name}: locked {locked[name]}, in the environment {used[name]}"
        for name in used
        if name in locked and locked[name] != used[name]
    ]


def pins(path: Path) -> dict[str, str]:
    """Package and version of each pinned line of a requirements file."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs: list[Any] = [line.split("==", 1) for line in lines if "==" in line]
    return {name.strip(): version.strip() for name, version in pairs}


def _register(clients: AzureClients) -> None:
    environments = clients.ml().environments
    from azure.ai.ml.entities import BuildContext, Environment

    environments.create_or_update(
        Environment(
            name=NAME,
            version=version(),
            build=BuildContext(path=str(FOLDER)),
            description="What phi-assets trains and evaluates with.",
            tags={"digest": digest()},
        )
    )
