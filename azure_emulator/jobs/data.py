"""The data of a job: checks its identity's roles and downloads its blobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from azure_emulator.blob_storage.blob_operations import READ, WRITE
from azure_emulator.blob_storage.blob_store import BlobStore
from azure_emulator.jobs.contract import Allows, BlobPath, JobRun


@dataclass
class JobFailed(Exception):
    """The error that ends a job as Failed, with Azure ML's code and message."""

    code: str
    message: str


class DataAccess:
    """Checks the roles of one job's identity on the job's blobs."""

    def __init__(self, run: JobRun, allows: Allows, account_scope: Callable[[str], str]) -> None:
        self._run, self._allows, self._account_scope = run, allows, account_scope

    def allowed(self, action: str, blob: BlobPath) -> bool:
        if not self._run.identity_based_data:
            return True
        scope = f"{self._account_scope(blob.account)}/blobServices/default/containers/{blob.container}"
        return bool(self._run.identity_oid) and self._allows(str(self._run.identity_oid), action, scope, True)

    def require_all(self) -> None:
        """Raise JobFailed for the first blob that the identity may not read or write."""
        read = [item.value for item in self._run.inputs.values() if isinstance(item.value, BlobPath)]
        for blob in read + ([self._run.code] if self._run.code else []):
            if not self.allowed(READ, blob):
                raise JobFailed("ScriptExecution.StreamAccess.Authentication", self._refusal("access the stream", blob))
        for output in self._run.outputs.values():
            if not (self.allowed(WRITE, output.target) and self.allowed(READ, output.target)):
                raise self.write_refused(output.target)

    def write_refused(self, blob: BlobPath) -> JobFailed:
        return JobFailed("ScriptExecution.WriteStreams.Authentication", self._refusal("access destination", blob))

    def _refusal(self, what: str, blob: BlobPath) -> str:
        who = self._run.identity_name or self._run.identity_oid or "no managed identity"
        address = f"https://{blob.account}.blob.core.windows.net/{blob.container}/{blob.path}"
        return (
            f"Authentication failed when trying to {what}. Make sure you have correct permissions set up. "
            f"PermissionDenied(Some(This request is not authorized to perform this operation using this permission.)) "
            f"AuthorizationPermissionMismatch for {address} with identity {who}"
        )


def fetch(
    store: BlobStore, source: BlobPath, folder: Path, stopped: Callable[[], bool], one_file: bool = False
) -> Path:
    """Download a blob folder (or one blob) as read-only files into `folder`. Return the path.

    Raises JobFailed if no such blob exists.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = source.path.strip("/")
    single = folder / PurePosixPath(prefix).name
    found = False
    for blob in store.list(source):
        if stopped():
            return folder
        if blob.path == prefix and not one_file:
            continue  # a folder marker
        found = True
        target = single if one_file else folder / blob.path[len(prefix) :].strip("/")
        store.download(replace(source, path=blob.path), target, stopped)
        target.chmod(0o444)
    if not found:
        address = f"https://{source.account}.blob.core.windows.net/{source.container}/{source.path}"
        message = f"The requested stream was not found. Please make sure the request uri is correct: {address}"
        raise JobFailed("ScriptExecution.StreamAccess.NotFound", message)
    return single if one_file else folder


def substituted(command: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """Return the command with `${{inputs.x}}` and `${{outputs.y}}` replaced. Raises JobFailed for an unknown name."""

    def written(match: re.Match[str]) -> str:
        kind, name = match.groups()
        values = inputs if kind == "inputs" else outputs
        if name not in values:
            raise JobFailed("UserError", f"the command names {match.group(0)}, which the job does not have")
        return values[name]

    return re.sub(r"\$\{\{\s*(inputs|outputs)\.(\w+)\s*\}\}", written, command)
