"""Resolves Azure ML's addresses (assets, job outputs, datastores, blob URLs) to blobs."""

from __future__ import annotations

import re

from azure_emulator.jobs.contract import BlobPath
from azure_emulator.messages import AzureError
from azure_emulator.state import EmulatorState

_DATASTORE = re.compile(r"azureml://(?:.*/)?datastores/(?P<name>[^/]+)/(?:paths/)?(?P<path>.*)", re.IGNORECASE)
_JOB = re.compile(
    r"azureml://(?:subscriptions/.*/)?jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/paths)?(?:/(?P<path>.*))?",
    re.IGNORECASE,
)
_BLOB = re.compile(r"https://(?P<account>[^./]+)\.blob\.core\.windows\.net/(?P<container>[^/?]+)/?(?P<path>[^?]*)")
_ASSET_URI = {"data": "dataUri", "models": "modelUri", "codes": "codeUri"}
_ASSET = re.compile(r".*/(?P<kind>data|models|codes)/[^/]+/versions/[^/]+", re.IGNORECASE)


def blob_path(emulator: EmulatorState, workspace: str, uri: str) -> BlobPath:
    """Return the blob or blob folder of an address in the workspace. Raises AzureError (UserError)."""
    plain = uri.removeprefix("azureml:") if uri.lower().startswith("azureml:/subscriptions") else uri
    asset = _ASSET.fullmatch(plain)
    if asset and plain.startswith("/"):
        resource = emulator.resources.find(plain)
        if resource is None:
            raise _unknown(uri, "there is no such asset")
        return blob_path(emulator, workspace, resource.properties[_ASSET_URI[asset["kind"].lower()]])
    found = _DATASTORE.fullmatch(plain)
    if found:
        return _in_datastore(emulator, workspace, found["name"], found["path"], uri)
    found = _JOB.fullmatch(plain)
    if found:
        return _of_job(emulator, workspace, found["job"], found["output"], found["path"] or "", uri)
    found = _BLOB.fullmatch(plain)
    if found:
        return BlobPath(found["account"], found["container"], found["path"])
    raise _unknown(uri, "it is neither an asset, a datastore path, a job's output nor a blob")


def of_datastore(workspace: str, name: str, path: str) -> str:
    """Return the full address of a path in a datastore."""
    parts = workspace.strip("/").split("/")
    subscription, group, owner = parts[1], parts[3], parts[-1]
    start = f"azureml://subscriptions/{subscription}/resourcegroups/{group}/workspaces/{owner}"
    return f"{start}/datastores/{name}/paths/{path}"


def _in_datastore(emulator: EmulatorState, workspace: str, name: str, path: str, uri: str) -> BlobPath:
    store = emulator.resources.find(f"{workspace}/datastores/{name}")
    if store is None:
        raise _unknown(uri, f"the workspace has no datastore '{name}'")
    return BlobPath(store.properties["accountName"], store.properties["containerName"], path)


def _of_job(emulator: EmulatorState, workspace: str, job: str, output: str, path: str, uri: str) -> BlobPath:
    resource = emulator.resources.find(f"{workspace}/jobs/{job}")
    outputs = (resource.properties.get("outputs") or {}) if resource else {}
    # `artifacts` is the job's own folder, which the SDK calls `default`.
    found = outputs.get("default" if output == "artifacts" else output)
    if found is None or not found.get("uri"):
        raise _unknown(uri, f"job '{job}' has no output '{output}'")
    base = blob_path(emulator, workspace, found["uri"])
    return BlobPath(base.account, base.container, f"{base.path.rstrip('/')}/{path}".rstrip("/") if path else base.path)


def _unknown(uri: str, reason: str) -> AzureError:
    return AzureError(400, "UserError", f"The address '{uri}' does not lead anywhere: {reason}.")
