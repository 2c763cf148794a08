"""Azure ML data assets: a name and a version for a folder in blob storage, which jobs use as input."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.role_delay import call_waiting_for_role, call_with_retries
from phi_assets.backends.azure.storage import blob
from phi_assets.ports.base import Log

if TYPE_CHECKING:
    from azure.ai.ml.entities import Data

DIGITS = 24  # of the digest in a version: Azure ML allows 30 characters, and other tools add a prefix


def version_of(digest: str) -> str:
    return digest[:DIGITS]


def reference(name: str, digest: str) -> str:
    """The asset's reference as a job's input."""
    return f"azureml:{name}:{version_of(digest)}"


def find(clients: AzureClients, name: str, digest: str, log: Log) -> "Data | None":
    """The asset of this digest; None when it does not exist. One request, with retries. Raises AzureRefused."""
    return call_with_retries(lambda: _now(clients, name, digest), f"reading data asset {name}", log)


def _now(clients: AzureClients, name: str, digest: str) -> "Data | None":
    from azure.core.exceptions import ResourceNotFoundError

    try:
        found = clients.ml().data.get(name, version_of(digest))
    except (ResourceNotFoundError, NotDeployed):
        return None
    return found if (found.tags or {}).get("digest") == digest else None


def ensure(
    clients: AzureClients,
    name: str,
    digest: str,
    path: str,
    *,
    description: str,
    tags: Mapping[str, str],
    log: Log,
    role_minutes: float,
) -> None:
    """Register the folder `path` of the workspace's container as the asset's version of this digest, once."""
    from azure.ai.ml.entities import Data

    def make() -> None:
        # Read first at each attempt: after a lost response it may be registered.
        if _now(clients, name, digest) is None:
            asset = Data(
                name=name,
                version=version_of(digest),
                type="uri_folder",
                path=blob.address(path),
                description=description,
                tags={**tags, "digest": digest},
            )
            clients.ml().data.create_or_update(asset)

    call_waiting_for_role(make, f"registering data asset {name}:{version_of(digest)}", log, role_minutes)
    if find(clients, name, digest, log) is None:
        raise AzureRefused(
            description=f"data asset {name}:{version_of(digest)} exists with different content; archive that version "
            "in Azure ML Studio under Data, and run again",
            allow_retries=False,
        )
