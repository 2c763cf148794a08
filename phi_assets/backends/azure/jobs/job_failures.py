"""A job that did not complete, told in one event: what went wrong, what to do, its last lines, and where to look."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from phi_assets.backends.azure.jobs.watch import Ended, link_metadata
from phi_assets.errors import BackendError

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
CURES: tuple[tuple[str, str], ...] = (
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


class JobFailed(BackendError):
    """A job that did not complete."""


class RoleMissing(JobFailed):
    """A job whose identity lacks a role, which may still be on its way."""


def failure_of(ended: Ended, error: str, lines: Sequence[str], *, refused: bool) -> JobFailed:
    """The failure to raise. `refused`: the program itself said why, so that trying again would not help."""
    text = "\n".join(lines)
    if refused:
        cure = TOO_LONG_CURE if TOO_LONG in error else ""
    else:
        cure = _cure(error + text) or (CANCELLED if ended.status == "Canceled" else "")
    words = f"job {ended.name} ended as {ended.status}: {error or 'Azure ML gave no reason'}"
    metadata: dict[str, Any] = link_metadata(ended.link)
    if text:
        metadata["last_log_lines"] = dg.MetadataValue.md(f"```\n{text}\n```")
    kind = RoleMissing if any(part in error for part in FOR_WANT_OF_A_ROLE) and not refused else JobFailed
    return kind(
        description="\n".join(part for part in (words, cure, text, ended.link) if part),
        metadata=metadata,
        allow_retries=not refused,
    )


def own_words(lines: Sequence[str]) -> str | None:
    """What a program said about its failure in the last line of its log, when it has no other way to tell."""
    last = lines[-1] if lines else ""
    return last.removeprefix(OWN) if last.startswith(OWN) else None


def _cure(text: str) -> str:
    return next((cure for part, cure in CURES if part.lower() in text.lower()), "")
