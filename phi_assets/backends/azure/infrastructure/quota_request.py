"""Requests more quota through the Quota API, once, and waits a while for the decision."""

import time
from typing import Any

from phi_assets.backends.azure.client.azure_errors import refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.infrastructure import providers
from phi_assets.ports.base import Log

MINUTES = 10.0  # automatic decisions take a few minutes; a request that goes to support takes days
POLL_SECONDS = 3.0
OPEN = frozenset({"Accepted", "InProgress"})


def request_more(clients: AzureClients, title: str, limit: int, log: Log) -> str:
    """Request this limit of a quota unless a request is open, and return its status in one line."""
    providers.ensure_registered(clients, ["Microsoft.Quota"], log)
    key = _key_of(clients, title, log)
    if key is None:
        return f"{title}: Azure's Quota API does not list it in {clients.account.location}"
    waiting = _open_request(clients, key, log)
    if waiting is None:
        before = {request.name for request in _requests(clients, log)}
        _file(clients, key, limit, before, log)
        log(f"requested {limit} vCPUs of {key}")
        waiting = next((r for r in _requests(clients, log) if r.name not in before and _is_about(r, key)), None)
    began = time.monotonic()
    while waiting is not None and _state(waiting) in OPEN:
        if time.monotonic() - began > MINUTES * 60:
            return f"{key}: not decided yet (request {waiting.name})"
        time.sleep(POLL_SECONDS)
        waiting = next((r for r in _requests(clients, log) if waiting and r.name == waiting.name), None)
    if waiting is None:
        return f"{key}: requested, but missing in Azure's list of requests"
    if _state(waiting) == "Succeeded":
        return f"{key}: granted"
    return f"{key}: denied: {waiting.message or 'no reason given'}"


def _key_of(clients: AzureClients, title: str, log: Log) -> str | None:
    """The Quota API's name for the quota of this title, which Azure ML's usages do not contain."""
    from azure.core.exceptions import HttpResponseError

    try:
        found = with_retries("reading quotas", lambda: list(clients.quota().quota.list(_scope(clients))), log)
    except HttpResponseError as e:
        raise refused("reading quotas", e) from e
    pairs = [(quota.properties.name, quota.name) for quota in found if quota.properties and quota.properties.name]
    return next((key for name, key in pairs if str(name.localized_value).lower() == title.lower()), None)


def _file(clients: AzureClients, key: str, limit: int, before: set[str], log: Log) -> None:
    from azure.core.exceptions import HttpResponseError

    body = {
        "properties": {
            "limit": {"limitObjectType": "LimitValue", "value": limit},
            "name": {"value": key},
            "resourceType": "dedicated",
        }
    }
    submitted = False

    def file() -> None:
        nonlocal submitted
        # After a lost response the request may have been filed.
        if submitted and any(r.name not in before and _is_about(r, key) for r in _requests(clients, log)):
            return
        submitted = True
        clients.quota().quota.begin_create_or_update(key, _scope(clients), body, polling=False, retry_total=0)

    try:
        with_retries(f"requesting quota of {key}", file, log)
    except HttpResponseError as e:
        raise refused(f"requesting {limit} vCPUs of {key}", e) from e


def _open_request(clients: AzureClients, key: str, log: Log) -> Any:
    return next((r for r in _requests(clients, log) if _is_about(r, key) and _state(r) in OPEN), None)


def _requests(clients: AzureClients, log: Log) -> list[Any]:
    from azure.core.exceptions import HttpResponseError

    try:
        return with_retries(
            "reading quota requests", lambda: list(clients.quota().quota_request_status.list(_scope(clients))), log
        )
    except HttpResponseError as e:
        raise refused("reading quota requests", e) from e


def _is_about(request: Any, key: str) -> bool:
    return any(str(part.name.value).lower() == key.lower() for part in request.value or [] if part.name)


def _state(request: Any) -> str:
    state = request.provisioning_state
    return str(getattr(state, "value", state))


def _scope(clients: AzureClients) -> str:
    of = clients.account
    return f"subscriptions/{of.subscription_id}/providers/Microsoft.MachineLearningServices/locations/{of.location}"
