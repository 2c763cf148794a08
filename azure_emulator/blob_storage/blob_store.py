"""The platform's own access to blobs: directly in Azurite, without the gate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerClient, LinearRetry

from azure_emulator.blob_storage.azurite import Azurite, SharedAzurite
from azure_emulator.blob_storage.blob_path import BlobPath

PIECE = 4 * 1024 * 1024


@dataclass(frozen=True)
class FoundBlob:
    """A blob in a listing."""

    path: str
    size: int
    etag: str
    modified: datetime


class BlobStore:
    """Read and write access to every container of every account, for Azure's own services."""

    def __init__(self, azurite: Azurite | SharedAzurite) -> None:
        self._azurite = azurite
        self._services: dict[str, BlobServiceClient] = {}

    def ensure_container(self, account: str, name: str) -> None:
        with contextlib.suppress(ResourceExistsError):
            self._service(account).create_container(name)

    def empty_account(self, account: str) -> None:
        """Delete all containers of the account."""
        service = self._service(account)
        for found in service.list_containers():
            with contextlib.suppress(ResourceNotFoundError):
                service.delete_container(found.name)

    def container(self, account: str, name: str) -> ContainerClient:
        return self._service(account).get_container_client(name)

    def read(self, blob: BlobPath) -> bytes:
        """Return all bytes of a small blob. Raises ResourceNotFoundError."""
        return self._client(blob).download_blob().readall()

    def write(self, blob: BlobPath, data: bytes) -> None:
        self._client(blob).upload_blob(data, overwrite=True)

    def append(self, blob: BlobPath, data: bytes) -> None:
        """Append `data` to an append blob, which is created if it does not exist."""
        client = self._client(blob)
        try:
            client.append_block(data)
        except ResourceNotFoundError:
            client.create_append_blob()
            client.append_block(data)

    def delete(self, blob: BlobPath) -> None:
        """Delete the blob if it exists."""
        with contextlib.suppress(ResourceNotFoundError):
            self._client(blob).delete_blob()

    def exists(self, blob: BlobPath) -> bool:
        return self._client(blob).exists()

    def list(self, folder: BlobPath) -> Iterator[FoundBlob]:
        """Yield the blobs in a folder, or the one blob of exactly this name."""
        prefix = folder.path.strip("/")
        for found in self.container(folder.account, folder.container).list_blobs(name_starts_with=prefix):
            if not prefix or found.name == prefix or found.name.startswith(f"{prefix}/"):
                yield FoundBlob(found.name, found.size, found.etag, found.last_modified)

    def download(self, blob: BlobPath, target: Path, stopped: Callable[[], bool] = lambda: False) -> None:
        """Download the blob, four megabytes at a time, until `stopped` returns True."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for piece in self._client(blob).download_blob().chunks():
                if stopped():
                    return
                file.write(piece)

    def upload(self, source: Path, blob: BlobPath) -> None:
        """Upload the file as a block blob, four megabytes at a time."""
        with source.open("rb") as file:
            self._client(blob).upload_blob(file, overwrite=True)

    def close(self) -> None:
        for service in self._services.values():
            service.close()

    def _client(self, blob: BlobPath) -> Any:
        return self._service(blob.account).get_blob_client(blob.container, blob.path)

    def _service(self, account: str) -> BlobServiceClient:
        if account not in self._services:
            self._services[account] = BlobServiceClient(
                self._azurite.url(account),
                credential=AzureSasCredential(self._azurite.access(account)),
                transport=RequestsTransport(use_env_settings=False),
                # Larger files go in blocks of this size; the SDK's own first read is of 256 MB.
                max_single_put_size=PIECE,
                max_single_get_size=PIECE,
                retry_policy=LinearRetry(backoff=1, random_jitter_range=0),
            )
        return self._services[account]
