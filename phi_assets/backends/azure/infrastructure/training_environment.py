"""The training environment: an image of this project, versioned by the hash of its folder, built once by Azure ML."""

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from phi_assets import code_digest, files
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.infrastructure import ml_environment
from phi_assets.backends.azure.infrastructure.ml_environment import DIGITS
from phi_assets.lock_files import pins
from phi_assets.ports.base import Log
from phi_assets.project import PROJECT
from phi_assets.records import TrainingEnvironment

if TYPE_CHECKING:
    from azure.ai.ml.entities import Environment

NAME = "phi-training"
FOLDER = PROJECT / "training_code" / "environment"
DOCKERFILE = FOLDER / "Dockerfile"
REQUIREMENTS = FOLDER / "requirements.txt"
LOCK = PROJECT / "requirements" / "lock.txt"
IMAGE = {"python_version": "3.11", "python_full_version": "3.11.13", "sys_platform": "linux"}  # as in the Dockerfile
SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "dagster-pipes")


@cache
def version() -> str:
    """The version of the image: the start of the SHA-256 of the folder's content."""
    return files.tree_sha256(FOLDER)[:DIGITS]


def digest() -> str:
    """SHA-256 over the Dockerfile and the names of the packages.

    Their releases are recorded and do not count: a new release makes a new image, and no model is trained again for it.
    """
    names = "\n".join(sorted(pins(REQUIREMENTS)))
    return hashlib.sha256(f"{code_digest.of_trees([DOCKERFILE])}\n{names}".encode()).hexdigest()


def reference(clients: AzureClients) -> str:
    """The environment's reference in a job, in the workspace that the clients are bound to."""
    del clients
    return f"azureml:{NAME}:{version()}"


def record() -> TrainingEnvironment:
    locked = pins(REQUIREMENTS)
    return TrainingEnvironment(
        digest=digest(), name=f"{NAME}:{version()}", packages={name: locked[name] for name in SHOWN if name in locked}
    )


def exists(clients: AzureClients) -> bool:
    """Whether this version is registered in the workspace."""
    return ml_environment.exists(clients, NAME, version())


def ensure(clients: AzureClients, role_minutes: float, log: Log) -> TrainingEnvironment:
    """Register the environment of this content unless it is registered, and return its record. Raises AzureRefused."""
    ml_environment.ensure(clients, NAME, version(), _environment, role_minutes, log)
    return record()


def differing_packages() -> list[str]:
    """A line for each package whose version in the environment differs from the lock file's."""
    locked, used = pins(LOCK, IMAGE), pins(REQUIREMENTS)
    return [
        f"{name}: locked {locked[name]}, in the environment {used[name]}"
        for name in used
        if name in locked and locked[name] != used[name]
    ]


def _environment() -> "Environment":
    from azure.ai.ml.entities import BuildContext, Environment

    return Environment(
        name=NAME,
        version=version(),
        build=BuildContext(path=str(FOLDER)),
        description="The environment in which phi-assets trains and evaluates.",
        tags={"digest": digest()},
    )
