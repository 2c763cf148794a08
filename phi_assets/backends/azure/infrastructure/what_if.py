"""Azure's forecast of a deployment, for a person to read. It is never empty, and decides nothing."""

from collections.abc import Mapping
from typing import Any

from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log

SECONDS = 180.0
NONE = "Azure gave no forecast"
QUIET = frozenset({"Ignore", "NoChange"})


def forecast(clients: AzureClients, name: str, body: Mapping[str, Any], log: Log) -> str:
    """A Markdown list of what a deployment would do; why not, when Azure would not say."""
    from azure.core.exceptions import AzureError

    asked = {
        "location": body["location"],
        "properties": {**body["properties"], "whatIfSettings": {"resultFormat": "ResourceIdOnly"}},
    }
    deployments = clients.deployments().deployments
    try:
        poller = deployments.begin_what_if_at_subscription_scope(name, asked)  # type: ignore[arg-type]
        poller.wait(SECONDS)
        if not poller.done():
            log(f"no forecast of the deployment: Azure did not answer within {SECONDS:g} s")
            return NONE
        changes = poller.result().changes or []
    except (AzureError, BackendError) as e:
        log(f"no forecast of the deployment: {str(e).splitlines()[0]}")
        return NONE
    lines = [f"- {_word(change.change_type)} `{change.resource_id}`" for change in changes]
    loud = [line for line in lines if line.split(" ")[1] not in QUIET]
    return "\n".join(sorted(loud)) or "no change forecast"


def _word(kind: Any) -> str:
    return str(getattr(kind, "value", kind))
