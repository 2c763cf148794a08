"""Why a job failed, as Azure ML's run history has it: `jobs.get` does not say."""

from typing import Any

from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.clients import PIPELINE, AzureClients
from phi_assets.backends.azure.client.retry import with_patience
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log

SCOPE = "https://ml.azure.com/.default"
SHORT_OF_ALL = 1500  # characters: some messages hold a whole log
LONG_ENOUGH = 2.0  # minutes


def job_error(clients: AzureClients, job: str, log: Log) -> str:
    """The error's code and message; empty when the run history has none, or cannot be asked now."""
    from azure.core.exceptions import AzureError

    try:
        found = with_patience(f"asking why {job} ended", lambda: details(clients, job), log, minutes=LONG_ENOUGH)
    except (AzureError, BackendError):
        return ""
    error = ((found.get("error") or {}).get("error")) or {}
    code, message = error.get("code") or "", " ".join(str(error.get("message") or "").split())
    inner = (error.get("innerError") or {}).get("code") or error.get("referenceCode") or ""
    named = ": ".join(part for part in (code, inner if inner != code else "", message) if part)
    return named if len(named) <= SHORT_OF_ALL else f"{named[:SHORT_OF_ALL]} …"


def details(clients: AzureClients, job: str) -> dict[str, Any]:
    """What the run history says of a job: its times, its error. Raises HttpResponseError."""
    from azure.core import PipelineClient
    from azure.core.exceptions import DecodeError
    from azure.core.pipeline.policies import BearerTokenCredentialPolicy
    from azure.core.rest import HttpRequest

    workspace = rest.workspace_id(clients)
    policy = BearerTokenCredentialPolicy(clients.credential(), SCOPE)  # type: ignore[arg-type]
    place = _history_url(clients, workspace)
    with PipelineClient(place, policies=[policy], **PIPELINE) as client:
        answer = client.send_request(HttpRequest("GET", f"{place}/history/v1.0{workspace}/runs/{job}/details"))
        answer.raise_for_status()
        try:
            return dict(answer.json())
        except (TypeError, ValueError) as e:
            raise DecodeError(f"the run history's answer about {job} is no JSON object") from e


def _history_url(clients: AzureClients, workspace: str) -> str:
    """Where the region keeps run histories, as the workspace's discovery address says; asked for once."""
    if workspace not in _histories:
        _histories[workspace] = _discovered(clients, workspace)
    return _histories[workspace]


_histories: dict[str, str] = {}


def _discovered(clients: AzureClients, workspace: str) -> str:
    from azure.core import PipelineClient
    from azure.core.rest import HttpRequest

    elsewhere = f"https://{clients.account.location}.api.azureml.ms"
    found = clients.get(f"{workspace}?api-version={rest.WORKSPACES_VERSION}")
    discovery = (found.get("properties") or {}).get("discoveryUrl")
    if not discovery:
        return elsewhere
    with PipelineClient(discovery, policies=[], **PIPELINE) as client:
        answer = client.send_request(HttpRequest("GET", discovery))
        answer.raise_for_status()
        try:
            return str(answer.json()["history"])
        except (KeyError, TypeError, ValueError):  # a page of a proxy, or another list than it was
            return elsewhere
