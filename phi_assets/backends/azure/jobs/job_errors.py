"""Finds why a job failed. The reason comes from Azure ML's run history, because `jobs.get` does not return it."""

from collections.abc import Sequence
from typing import Any

from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.clients import PIPELINE, AzureClients
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.jobs.watch import Ended, link_metadata
from phi_assets.errors import BackendError
from phi_assets.graph import metadata_values
from phi_assets.ports.base import Log

# Errors of a job whose identity lacks a role: for its image and inputs before the program runs, for outputs also after.
MISSING_ROLE_ERRORS = (
    "StreamAccess.Authentication",
    "WriteStreams.Authentication",
    "unauthorized: authentication required",
)
ROLE_REMEDY = (
    "The identity that jobs run as may not read or write the workspace's storage, or may not pull from its registry: "
    "materialise role_assignments, whose checks show the missing role, and run again"
)
# Parts of Azure ML's error texts, with the remedy for each.
REMEDIES: tuple[tuple[str, str], ...] = (
    *((part, ROLE_REMEDY) for part in (*MISSING_ROLE_ERRORS, "AuthorizationPermissionMismatch")),
    (
        "ImageBuildFailure",
        "The image of training_environment could not be built. Its build log is in Azure ML Studio under Environments; "
        "fix training_code/environment/, and run again",
    ),
    ("MaxRunDuration", "PHI_AZURE_MAX_JOB_COST sets its time limit. Run again to resume from its last checkpoint"),
    ("NodeFailure", "Its node was lost. Run again to resume from its last checkpoint"),
    ("out of memory", "Set a preset with a smaller packed_length or batch_size, or a larger PHI_AZURE_VM_SIZE"),
)
CANCELLED = (
    "A user cancelled it, or it reached the time limit that PHI_AZURE_MAX_JOB_COST sets. Run again to resume from its "
    "last checkpoint"
)
ERROR_PREFIX = "error: "  # of the last line that a failed program of this project prints
TOO_LONG = "max_train_minutes is"  # from training_code's message when it refuses to start
TOO_LONG_REMEDY = "Raise PHI_MAX_TRAIN_MINUTES, or PHI_AZURE_MAX_JOB_COST if that allows less time"

SCOPE = "https://ml.azure.com/.default"
MAX_ERROR_LENGTH = 1500  # characters: some messages contain a whole log
ERROR_MINUTES = 2.0


def job_error(clients: AzureClients, job: str, log: Log) -> str:
    """The error's code and message; empty when the run history has none, or cannot be read now."""
    from azure.core.exceptions import AzureError

    try:
        found = with_retries(f"reading why job {job} ended", lambda: details(clients, job), log, minutes=ERROR_MINUTES)
    except (AzureError, BackendError):
        return ""
    error = ((found.get("error") or {}).get("error")) or {}
    code, message = error.get("code") or "", " ".join(str(error.get("message") or "").split())
    inner = (error.get("innerError") or {}).get("code") or error.get("referenceCode") or ""
    text = ": ".join(part for part in (code, inner if inner != code else "", message) if part)
    return text if len(text) <= MAX_ERROR_LENGTH else f"{text[:MAX_ERROR_LENGTH]} …"


def details(clients: AzureClients, job: str) -> dict[str, Any]:
    """The run history's details of a job: its times and its error. Raises HttpResponseError."""
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
            raise DecodeError(f"the run history's response about job {job} is not a JSON object") from e


def _history_url(clients: AzureClients, workspace: str) -> str:
    """The URL of the run history service, from the workspace's discovery URL; cached per workspace."""
    if workspace not in _histories:
        _histories[workspace] = _discovered(clients, workspace)
    return _histories[workspace]


_histories: dict[str, str] = {}


def _discovered(clients: AzureClients, workspace: str) -> str:
    from azure.core import PipelineClient
    from azure.core.rest import HttpRequest

    default = f"https://{clients.account.location}.api.azureml.ms"
    found = clients.get(f"{workspace}?api-version={rest.WORKSPACES_VERSION}")
    discovery = (found.get("properties") or {}).get("discoveryUrl")
    if not discovery:
        return default
    with PipelineClient(discovery, policies=[], **PIPELINE) as client:
        answer = client.send_request(HttpRequest("GET", discovery))
        answer.raise_for_status()
        try:
            return str(answer.json()["history"])
        except (KeyError, TypeError, ValueError):  # a proxy's page, or a changed format
            return default


class JobFailed(BackendError):
    """A job that did not complete."""


class RoleMissing(JobFailed):
    """A job whose identity lacks a role, which may still be propagating."""


def failure_of(ended: Ended, error: str, lines: Sequence[str], *, refused: bool) -> JobFailed:
    """The error to raise. `refused`: the program itself reported the reason, so that a retry would not help."""
    text = "\n".join(lines)
    if refused:
        remedy = TOO_LONG_REMEDY if TOO_LONG in error else ""
    else:
        remedy = _remedy(error + text) or (CANCELLED if ended.status == "Canceled" else "")
    headline = f"job {ended.name} ended as {ended.status}: {error or 'Azure ML gave no reason'}"
    metadata: dict[str, Any] = link_metadata(ended.link)
    if text:
        metadata["last_log_lines"] = metadata_values.block(text)
    kind = RoleMissing if any(part in error for part in MISSING_ROLE_ERRORS) and not refused else JobFailed
    return kind(
        description="\n".join(part for part in (headline, remedy, text, ended.link) if part),
        metadata=metadata,
        allow_retries=not refused,
    )


def reported_error(lines: Sequence[str]) -> str | None:
    """The error in the last line of a program's log, for programs that do not report it through Pipes; else None."""
    last = lines[-1] if lines else ""
    return last.removeprefix(ERROR_PREFIX) if last.startswith(ERROR_PREFIX) else None


def _remedy(text: str) -> str:
    return next((remedy for part, remedy in REMEDIES if part.lower() in text.lower()), "")
