"""The interface between the control plane and the job runner.

The control plane decides when a job may start (capacity, image) and reports `Queued` and `Preparing` itself; from
`JobRunner.start` on, the runner reports. A report is `on_change(status, error_code, error_message)`, called from the
job's own thread, in order, and never after `Completed`, `Canceled` or `Failed`. A node that is lost and replaced is
reported as `Queued`, then `Running` again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from azure_emulator.blob_storage.blob_path import BlobPath

Status = Literal[
    "NotStarted",
    "Starting",
    "Provisioning",
    "Preparing",
    "Queued",
    "Running",
    "Finalizing",
    "CancelRequested",
    "Completed",
    "Failed",
    "Canceled",
    "NotResponding",
]
TERMINAL: frozenset[Status] = frozenset({"Completed", "Failed", "Canceled"})

OnChange = Callable[[Status, str | None, str | None], None]
Allows = Callable[[str, str, str, bool], bool]  # (object id, action, scope, is it a data action?)


@dataclass(frozen=True)
class JobInput:
    """A value in the command, or a file or folder that is downloaded for the job."""

    kind: Literal["literal", "uri_file", "uri_folder"]
    value: str | BlobPath


@dataclass(frozen=True)
class JobOutput:
    """A folder of the job that is stored in blobs, continuously (a mount) or once at the end (upload)."""

    target: BlobPath
    mode: Literal["ReadWriteMount", "Upload"]


@dataclass(frozen=True)
class JobRun:
    """One command job, with every asset and datastore address already resolved to blobs.

    `id` is the lower-cased resource id, because two workspaces may have jobs of the same name.
    """

    id: str
    name: str
    command: str  # with ${{inputs.x}} and ${{outputs.y}}
    code: BlobPath | None
    inputs: Mapping[str, JobInput]
    outputs: Mapping[str, JobOutput]
    environment_variables: Mapping[str, str]
    identity_oid: str | None
    identity_client_id: str | None
    timeout_seconds: float | None
    log: BlobPath
    identity_name: str | None = None  # resource id, for error messages
    # False for a datastore with an account key, which needs no role of the job's identity.
    identity_based_data: bool = True
