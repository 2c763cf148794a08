"""Registers this project's environments in the workspace, once per content: the version is the content's hash."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.azure_errors import refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.rest import WORKSPACES_VERSION
from phi_assets.backends.azure.client.role_delay import wait_for_role
from phi_assets.ports.base import Log

if TYPE_CHECKING:
    from azure.ai.ml.entities import Environment

DIGITS = 24  # of the content's hash: a version of an asset has at most 30 characters


def id_in(workspace: str, name: str, version: str) -> str:
    """The environment's resource id, as a deployment refers to it."""
    return f"{workspace}/environments/{name}/versions/{version}"


def exists(clients: AzureClients, name: str, version: str) -> bool:
    """Whether this version is registered in the workspace."""
    id = id_in(clients.resource("ml_workspace"), name, version)
    return rest.get_or_none(clients, id, WORKSPACES_VERSION) is not None


def ensure(
    clients: AzureClients, name: str, version: str, make: Callable[[], "Environment"], role_minutes: float, log: Log
) -> None:
    """Register the version; its image is built when a job or a deployment first uses it. Raises AzureRefused."""
    from azure.core.exceptions import HttpResponseError

    if exists(clients, name, version):
        return
    what = f"registering the environment {name}:{version}"
    log(what)

    def register() -> None:
        # Read first at each attempt: after a lost response it may be registered.
        if not exists(clients, name, version):
            clients.ml().environments.create_or_update(make())

    try:
        wait_for_role(register, what, log, role_minutes)
    except HttpResponseError as e:
        raise refused(what, e) from e
