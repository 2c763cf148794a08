"""Resource providers: a subscription must be registered for one before its resources can be created."""

import time

from phi_assets.backends.azure.client.azure_errors import AzureRefused, GaveUp, code_of, refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.ports.base import Log

MINUTES = 10.0
POLL_SECONDS = 2.0


def ensure_registered(clients: AzureClients, namespaces: list[str], log: Log) -> None:
    """Register the subscription for every namespace, and wait. Raises AzureRefused with the command if not
    permitted.
    """
    waiting = [namespace for namespace in namespaces if _state(clients, namespace, log) != "Registered"]
    for namespace in waiting:
        log(f"registering the subscription for {namespace}")
        _register(clients, namespace, log)
    began = time.monotonic()
    while waiting:
        waiting = [namespace for namespace in waiting if _state(clients, namespace, log) != "Registered"]
        if waiting and time.monotonic() - began > MINUTES * 60:
            raise GaveUp(
                description=f"registering took over {MINUTES:g} minutes: {', '.join(waiting)}; check with "
                f"`az provider show --namespace {waiting[0]}`, and run again"
            )
        if waiting:
            time.sleep(POLL_SECONDS)


def _state(clients: AzureClients, namespace: str, log: Log) -> str:
    from azure.core.exceptions import HttpResponseError

    try:
        found = with_retries(f"reading {namespace}", lambda: clients.resources().providers.get(namespace), log)
    except HttpResponseError as e:
        raise refused(f"reading whether the subscription is registered for {namespace}", e) from e
    return str(found.registration_state)


def _register(clients: AzureClients, namespace: str, log: Log) -> None:
    from azure.core.exceptions import HttpResponseError

    try:
        with_retries(f"registering {namespace}", lambda: clients.resources().providers.register(namespace), log)
    except HttpResponseError as e:
        if code_of(e) == "AuthorizationFailed":
            raise AzureRefused(
                description=f"the subscription is not registered for {namespace}, and you may not register it: ask an "
                f"owner for `az provider register --namespace {namespace} --wait`, and run again",
                allow_retries=False,
            ) from e
        raise refused(f"registering the subscription for {namespace}", e) from e
