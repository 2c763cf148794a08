"""The operation of a request to Blob storage, and the permissions that it requires.

The actions are those of "Permissions for calling blob and queue data operations" in Microsoft's REST reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_BLOBS = f"{_CONTAINERS}/blobs"
DELEGATION = "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"
READ, WRITE, DELETE, ADD = f"{_BLOBS}/read", f"{_BLOBS}/write", f"{_BLOBS}/delete", f"{_BLOBS}/add/action"


@dataclass(frozen=True)
class Operation:
    """One operation. A role needs any of `actions`; a signature (SAS) needs any of `letters`."""

    name: str
    actions: tuple[str, ...]
    letters: str
    on_data: bool  # the action is a role's dataAction, not an action


@dataclass(frozen=True)
class Target:
    """The target of a request's path: an account, a container or a blob."""

    container: str = ""
    blob: str = ""


class NotEmulated(ValueError):
    """An operation of Azure that the local Azure does not emulate."""


def target_of(raw_path: str) -> Target:
    container, _, blob = raw_path.lstrip("/").partition("/")
    return Target(unquote(container), unquote(blob))


def operation_of(method: str, target: Target, query: Mapping[str, str], headers: Mapping[str, str]) -> Operation:
    """Return the request's operation. Raises NotEmulated."""
    comp = query.get("comp", "")
    if comp == "batch" or "x-ms-copy-source" in headers:
        what = "a batch of requests" if comp == "batch" else "a copy from a URL"
        raise NotEmulated(f"{what} is not emulated: send each request separately, or upload the bytes")
    if target.blob:
        return _on_blob(method, comp)
    if target.container:
        return _on_container(method, comp)
    return _on_service(method, comp)


def _on_service(method: str, comp: str) -> Operation:
    if comp == "userdelegationkey":
        return Operation("GetUserDelegationKey", (DELEGATION,), "", on_data=False)
    if comp == "list":
        return Operation("ListContainers", (f"{_CONTAINERS}/read",), "l", on_data=False)
    verb = "read" if method in ("GET", "HEAD") else "write"
    return Operation("ServiceProperties", (f"Microsoft.Storage/storageAccounts/blobServices/{verb}",), verb[0], False)


def _on_container(method: str, comp: str) -> Operation:
    if comp in ("list", "blobs"):
        return Operation("ListBlobs", (READ,), "l", on_data=True)
    if comp == "acl":
        verb = "getAcl" if method in ("GET", "HEAD") else "setAcl"
        return Operation("ContainerAcl", (f"{_CONTAINERS}/{verb}/action",), "", on_data=False)
    if method == "DELETE":
        return Operation("DeleteContainer", (f"{_CONTAINERS}/delete",), "d", on_data=False)
    if method == "PUT":
        return Operation("CreateContainer", (f"{_CONTAINERS}/write",), "cw", on_data=False)
    return Operation("GetContainerProperties", (f"{_CONTAINERS}/read",), "r", on_data=False)


def _on_blob(method: str, comp: str) -> Operation:
    if comp == "tags":
        verb = "read" if method == "GET" else "write"
        return Operation("BlobTags", (f"{_BLOBS}/tags/{verb}",), "t", on_data=True)
    if method in ("GET", "HEAD"):
        return Operation("GetBlobProperties" if method == "HEAD" else "GetBlob", (READ,), "r", on_data=True)
    if method == "DELETE":
        return Operation("DeleteBlob", (DELETE,), "d", on_data=True)
    if comp == "appendblock":
        return Operation("AppendBlock", (WRITE, ADD), "aw", on_data=True)
    if comp in ("", "block"):
        return Operation("PutBlock" if comp else "PutBlob", (WRITE, ADD), "cw", on_data=True)
    if comp == "blocklist":
        return Operation("PutBlockList", (WRITE, ADD), "cw", on_data=True)
    if comp == "snapshot":
        return Operation("SnapshotBlob", (WRITE, ADD), "cw", on_data=True)
    return Operation(f"SetBlob{comp.capitalize()}", (WRITE,), "w", on_data=True)
