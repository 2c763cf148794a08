"""Why a job failed, as Azure ML's run history has it: `jobs.get` does not say."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.clients import PIPELINE, AzureClients
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.jobs.watch import Ended, link_metadata
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log

# What the job's identity was refused: its image and its inputs before the program runs, outputs also after its end.
FOR_WANT_OF_A_ROLE = (
    "StreamAccess.Authentication",
    "WriteStreams.Authentication",
    "unauthorized: authentication required",
)
ROLE_CURE = (
    "The identity that jobs run as may not read or write the workspace's storage, or may not pull from its registry: "
    "materialise role_assignments, which shows the role that is missing, and run again"
)
# Parts of Azure ML's error texts, and what to do about each.
REMEDIES: tuple[tuple[str, str], ...] = (
    *((part, ROLE_CURE) for part in (*FOR_WANT_OF_A_ROLE, "AuthorizationPermissionMismatch")),
    (
        "ImageBuildFailure",
        "The image of training_environment could not be built. Its build log is in Azure ML Studio under Environments; "
        "mend training_code/environment/, and run again",
    ),
    ("MaxRunDuration", "PHI_AZURE_MAX_JOB_COST sets its time limit. Run again to go on from its last checkpoint"),
    ("NodeFailure", "Its machine was lost. Run again to go on from its last checkpoint"),
    ("out of memory", "Set a preset with a smaller packed_length or batch_size, or a larger PHI_AZURE_VM_SIZE"),
)
CANCELLED = (
    "A person cancelled it, or it reached the time limit that PHI_AZURE_MAX_JOB_COST sets. Run again to go on from its "
    "last checkpoint"
)
OWN = "error: "
TOO_LONG = "max_train_minutes is"  # training_code's words when it refuses to begin
TOO_LONG_CURE = "Raise PHI_MAX_TRAIN_MINUTES, or PHI_AZURE_MAX_JOB_COST where the time that it buys is less"

SCOPE = "https://ml.azure.com/.default"
SHORT_OF_ALL = 1500  # characters: some messages hold a whole log
LONG_ENOUGH = 2.0  # minutes


def job_error(clients: AzureClients, job: str, log: Log) -> str:
    """The error's code and message; empty when the run history has none, or cannot be asked now."""
    from azure.core.exceptions import AzureError

    try:
        found = with_retries(f"asking why {job} ended", lambda: details(clients, job), log, minutes=LONG_ENOUGH)
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


class JobFailed(BackendError):
    """A job that did not complete."""


class RoleMissing(JobFailed):
    """A job whose identity lacks a role, which may still be on its way."""


def failure_of(ended: Ended, error: str, lines: Sequence[str], *, refused: bool) -> JobFailed:
    """The failure to raise. `refused`: the program itself said why, so that trying again would not help."""
    text = "\n".join(lines)
    if refused:
        remedy = TOO_LONG_CURE if TOO_LONG in error else ""
    else:
        remedy = _remedy(error + text) or (CANCELLED if ended.status == "Canceled" else "")
    words = f"job {ended.name} ended as {ended.status}: {error or 'Azure ML gave no reason'}"
    metadata: dict[str, Any] = link_metadata(ended.link)
    if text:
        metadata["last_log_lines"] = dg.MetadataValue.md(f"```\n{text}\n```")
    kind = RoleMissing if any(part in error for part in FOR_WANT_OF_A_ROLE) and not refused else JobFailed
    return kind(
        description="\n".join(part for part in (words, remedy, text, ended.link) if part),
        metadata=metadata,
        allow_retries=not refused,
    )


def own_words(lines: Sequence[str]) -> str | None:
    """What a program said about its failure in the last line of its log, when it has no other way to tell."""
    last = lines[-1] if lines else ""
    return last.removeprefix(OWN) if last.startswith(OWN) else None


def _remedy(text: str) -> str:
    return next((remedy for part, remedy in REMEDIES if part.lower() in text.lower()), "")
