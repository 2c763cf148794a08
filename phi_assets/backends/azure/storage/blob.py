"""Reads and writes files in the workspace's blob container with the identity of the signed-in principal."""

import contextlib
import time
from collections.abc import Callable, Container, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.azure_errors import AzureRefused, refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.rest import WORKSPACES_VERSION
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.client.role_delay import wait_for_role
from phi_assets.files import file_sha256
from phi_assets.ports.base import Log

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, ContainerClient

DATASTORE = "workspaceblobstore"
ADDRESS = f"azureml://datastores/{DATASTORE}/paths/"
LOG_SECONDS = 10.0
T = TypeVar("T")


def address(path: str) -> str:
    """Azure ML's address of a path in the container."""
    return ADDRESS + path


def path_of(place: str) -> str:
    """The path in the container from an address; the inverse of `address`."""
    return place.removeprefix(ADDRESS)


class NoDatastore(AzureRefused):
    """The workspace or its datastore does not exist."""


class WorkspaceBlobs:
    """The container of workspaceblobstore. Requests refused for a missing role are retried for `role_minutes`."""

    def __init__(self, clients: AzureClients, log: Log, role_minutes: float) -> None:
        self.clients, self.log, self.role_minutes = clients, log, role_minutes

    @cached_property
    def place(self) -> tuple[str, str]:
        """The URL of the storage account, and the name of the container."""
        # Read with the REST API, because azure-ai-ml takes seconds to import.
        workspace = self.clients.resource("ml_workspace")
        datastore = f"{workspace}/datastores/{DATASTORE}"
        found = rest.get_or_none(self.clients, datastore, WORKSPACES_VERSION, role_minutes=self.role_minutes)
        if found is None:
            raise NoDatastore(description=f"{workspace} has no datastore {DATASTORE}; materialise ml_workspace again")
        of = rest.properties(found)
        return f"https://{of['accountName']}.blob.{of['endpoint']}", str(of["containerName"])

    def container(self, name: str | None = None) -> "ContainerClient":
        """The workspace's container, or another one of the same account."""
        url, own = self.place
        return self.clients.blob(url).get_container_client(name or own)

    def upload(self, folder: Path, path: str, skip: Container[str] = ()) -> int:
        """Upload every changed file of `folder` to `path`, which ends in a slash; return how many were sent.

        Files whose name is in `skip` are not uploaded.
        """
        stored = self._try("listing uploaded files", lambda: self._sums(path))
        files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name not in skip)
        sent = 0
        for file in files:
            name = path + file.relative_to(folder).as_posix()
            sha256 = file_sha256(file)
            if stored.get(name) != (file.stat().st_size, sha256):
                self._try(
                    f"uploading {file.name}", lambda file=file, name=name, sha=sha256: self._send(file, name, sha)
                )
                sent += 1
        return sent

    def download(self, path: str, folder: Path, names: Iterable[str] | None = None) -> None:
        """Download the named files under `path`, or all of them, into `folder`."""
        wanted = [path + name for name in names] if names is not None else self.names(path)
        for name in wanted:
            self.fetch(name, folder / name.removeprefix(path))

    def fetch(self, name: str, target: Path) -> None:
        """Download a file to `target` atomically."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self._try(f"downloading {name}", lambda: self._receive(name, target))

    def etags(self, path: str) -> dict[str, str]:
        """Every blob name that begins with `path`, with its ETag, which changes with the content."""

        def ask() -> dict[str, str]:
            return {blob.name: str(blob.etag) for blob in self.container().list_blobs(name_starts_with=path)}

        return self._try(f"listing {path}", ask)

    def listed(self, path: str, on_response: Callable[[Any], None] | None = None) -> dict[str, tuple[int, float]]:
        """Every blob name that begins with `path`, with its size in bytes and its time in seconds since 1970.

        `on_response` is called with each response of the storage service.
        """

        def ask() -> dict[str, tuple[int, float]]:
            found = self.container().list_blobs(name_starts_with=path, raw_response_hook=on_response)
            return {blob.name: (blob.size, blob.last_modified.timestamp()) for blob in found}

        return self._try(f"listing {path}", ask)

    def names(self, path: str) -> list[str]:
        """Every blob name that begins with `path`."""
        return self._try(f"listing {path}", lambda: list(self.container().list_blob_names(name_starts_with=path)))

    def holds(self, folder: Path, path: str) -> bool:
        """Whether every file of `folder` is stored under `path`, which ends in a slash, with the same size."""
        stored = self.sizes(path)
        files = [file for file in folder.rglob("*") if file.is_file()]
        sizes = {path + file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
        return all(stored.get(name) == size for name, size in sizes.items())

    def sizes(self, path: str) -> dict[str, int]:
        """Every blob name that begins with `path`, with its size in bytes."""
        return {name: size for name, (size, _) in self.listed(path).items()}

    def size(self, path: str) -> int | None:
        """The file's size in bytes; None when it does not exist."""
        from azure.core.exceptions import ResourceNotFoundError

        def ask() -> int | None:
            try:
                return self.blob(path).get_blob_properties().size
            except ResourceNotFoundError:
                return None

        return self._try(f"reading the size of {path}", ask)

    def read(self, path: str) -> bytes:
        """The file's bytes; empty when it does not exist."""
        return self._try(f"reading {path}", lambda: self.peek(path))

    def peek(self, path: str, *, start: int = 0, container: str | None = None) -> bytes:
        """The file's bytes from `start` on; empty when it does not exist or is not longer. One request, without
        retries.
        """
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        try:
            return self.blob(path, container).download_blob(offset=start).readall()
        except ResourceNotFoundError:
            return b""
        except HttpResponseError as e:
            if e.status_code == 416:  # the range starts after the end
                return b""
            raise

    def write(self, path: str, content: bytes) -> None:
        self._try(f"writing {path}", lambda: self.blob(path).upload_blob(content, overwrite=True))

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that does not exist yet, and return whether this call or an equal one wrote it."""
        from azure.core.exceptions import ResourceExistsError

        def ask() -> bool:
            try:
                self.blob(path).upload_blob(content, overwrite=False)
            except ResourceExistsError:
                return self.peek(path) == content  # the response to the first attempt may have been lost
            return True

        return self._try(f"writing {path}", ask)

    def tagged(self, path: str) -> tuple[bytes, str] | None:
        """The file's bytes and its ETag; None when it does not exist."""
        from azure.core.exceptions import ResourceNotFoundError

        def ask() -> tuple[bytes, str] | None:
            try:
                found = self.blob(path).download_blob()
            except ResourceNotFoundError:
                return None
            return found.readall(), str(found.properties.etag)

        return self._try(f"reading {path}", ask)

    def replace(self, path: str, content: bytes, etag: str | None) -> bool:
        """Write a file that still has this ETag, or that does not exist yet where it is None. Return whether it was.

        After a lost response it may be False although this call wrote the file: read it again.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}

        def ask() -> bool:
            try:
                self.blob(path).upload_blob(content, overwrite=etag is not None, **condition)
            except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
                return False
            return True

        return self._try(f"writing {path}", ask)

    def remove(self, path: str) -> None:
        """Delete every blob whose name begins with `path`."""
        from azure.core.exceptions import ResourceNotFoundError

        def ask(name: str) -> None:
            with contextlib.suppress(ResourceNotFoundError):
                self.blob(name).delete_blob()

        for name in self.names(path):
            self._try(f"removing {name}", lambda name=name: ask(name))

    def blob(self, path: str, container: str | None = None) -> "BlobClient":
        return self.container(container).get_blob_client(path)

    def _sums(self, path: str) -> dict[str, tuple[int, str]]:
        found = self.container().list_blobs(name_starts_with=path, include=["metadata"])
        return {blob.name: (blob.size, (blob.metadata or {}).get("sha256", "")) for blob in found}

    def _send(self, file: Path, name: str, sha256: str) -> None:
        with file.open("rb") as content:
            self.blob(name).upload_blob(
                content,
                overwrite=True,
                length=file.stat().st_size,
                metadata={"sha256": sha256},
                max_concurrency=4,
                progress_hook=_progress_logger(file.name, self.log),
            )

    def _receive(self, name: str, target: Path) -> None:
        part = target.with_name(f".{target.name}.part")
        with part.open("wb") as content:
            self.blob(name).download_blob(max_concurrency=4).readinto(content)
        part.replace(target)

    def _try(self, what: str, call: Callable[[], T]) -> T:
        from azure.core.exceptions import HttpResponseError

        try:
            return wait_for_role(call, what, self.log, self.role_minutes)
        except HttpResponseError as e:
            raise refused(what, e) from e


def seems_whole(clients: AzureClients, folder: Path, path: str) -> bool:
    """As `holds`, without waiting for a role: files that may not be read now are assumed to exist."""
    try:
        return WorkspaceBlobs(clients, log_to_run, 0.0).holds(folder, path)
    except NoDatastore:
        return False
    except AzureRefused:
        return True


def _progress_logger(name: str, log: Log) -> Callable[[int, int | None], None]:
    """A progress hook that logs at most every LOG_SECONDS while a large file is uploaded."""
    logged = time.monotonic()

    def progress(done: int, total: int | None) -> None:
        nonlocal logged
        if total and time.monotonic() - logged >= LOG_SECONDS:
            logged = time.monotonic()
            log(f"uploading {name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    return progress
