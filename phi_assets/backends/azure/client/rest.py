"""Reads resources and paged lists of Azure Resource Manager."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from phi_assets.backends.azure.client import names
from phi_assets.backends.azure.client.azure_errors import refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import RETRY_MINUTES, with_retries
from phi_assets.backends.azure.client.role_delay import wait_for_role
from phi_assets.ports.base import Log

Body = Mapping[str, Any]

WORKSPACES = "Microsoft.MachineLearningServices/workspaces"
WORKSPACES_VERSION = "2024-10-01"
RESOURCES_VERSION = "2021-04-01"


def rows(
    clients: AzureClients, what: str, address: str, log: Log, minutes: float = RETRY_MINUTES
) -> list[dict[str, Any]]:
    """Every row of the list at an address, from all pages. Raises HttpResponseError."""
    found: list[dict[str, Any]] = []
    page: str | None = address
    while page:
        body = with_retries(f"listing {what}", partial(clients.get, page), log, minutes)
        found += body.get("value") or []
        page = body.get("nextLink")
    return found


def rows_if_any(
    clients: AzureClients, what: str, place: str, log: Log, version: str = WORKSPACES_VERSION, query: str = ""
) -> list[dict[str, Any]]:
    """Every row of the list at a resource path; empty when the parent does not exist. Raises AzureRefused."""
    from azure.core.exceptions import HttpResponseError

    try:
        return rows(clients, what, f"{place}?api-version={version}{f'&{query}' if query else ''}", log)
    except HttpResponseError as e:
        if status_of(e) == 404:
            return []
        raise refused(f"listing {what}", e) from e


def resources(clients: AzureClients, log: Log) -> list[dict[str, Any]]:
    """Every top-level resource of the account's group, with its creation time."""
    found = rows_if_any(
        clients,
        f"the resources of {clients.account.group}",
        f"{clients.account.group_id}/resources",
        log,
        RESOURCES_VERSION,
        "$expand=createdTime",
    )
    return [row for row in found if str(row["type"]).count("/") == 1]


def workspace_id(clients: AzureClients) -> str:
    """The resource id of the account's workspace, whether or not it exists."""
    return f"{clients.account.group_id}/providers/{WORKSPACES}/{names.names(clients.account)['ml_workspace']}"


def endpoints(clients: AzureClients, log: Log) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Every online endpoint of the workspace, each with its deployments."""
    place = f"{workspace_id(clients)}/onlineEndpoints"
    return [
        (row, rows_if_any(clients, "the deployments", f"{place}/{row['name']}/deployments", log))
        for row in rows_if_any(clients, "the endpoints", place, log)
    ]


def computes(clients: AzureClients, log: Log) -> list[dict[str, Any]]:
    """Every compute of the workspace, of any type."""
    return rows_if_any(clients, "the computes", f"{workspace_id(clients)}/computes", log)


def is_cluster(compute: Mapping[str, Any]) -> bool:
    return (compute.get("properties") or {}).get("computeType") == "AmlCompute"


def clusters(clients: AzureClients, log: Log) -> list[dict[str, Any]]:
    """Every cluster of the workspace."""
    return [row for row in computes(clients, log) if is_cluster(row)]


def get_or_none(
    clients: AzureClients, resource_id: str, api_version: str, *, role_minutes: float | None = None
) -> Body | None:
    """A resource's body; None when it does not exist. With `role_minutes` it waits for a role to take effect."""
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    what = f"reading {resource_id.rpartition('/')[2]}"

    def read() -> Any:
        return clients.resources().resources.get_by_id(resource_id, api_version=api_version)

    try:
        found = with_retries(what, read) if role_minutes is None else wait_for_role(read, what, minutes=role_minutes)
    except ResourceNotFoundError:
        return None
    except HttpResponseError as e:
        raise refused(what, e) from e
    return found.as_dict()


def kind_of(resource_id: str) -> str:
    """The resource type of an id, such as Microsoft.Storage/storageAccounts."""
    if "/providers/" not in resource_id:
        return "Microsoft.Resources/resourceGroups"
    namespace, *rest = resource_id.rpartition("/providers/")[2].split("/")
    return "/".join((namespace, *rest[::2]))


def properties(body: Body) -> Mapping[str, Any]:
    return body.get("properties") or {}
