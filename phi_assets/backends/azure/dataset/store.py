"""Stores dataset versions in blob storage, each registered as an Azure ML data asset, with a local copy."""

import json
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.storage import blob, data_assets
from phi_assets.backends.dataset_preparation import DatasetPreparation, pairs_of
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.dataset import DatasetStore
from phi_assets.records import DatasetVersion

if TYPE_CHECKING:
    from phi_assets.backends.azure.dataset.shared_places import SharedPlaces
    from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
    from phi_assets.backends.row_places import PlacesFile
    from phi_assets.conversations.sources.feeds import Feed, Scan

ASSET = "phi-chat-dataset"
ROOT = "phi/datasets/"
MANIFEST = "manifest.json"
POLL_SECONDS = 5.0


class AzureDatasetStore(DatasetStore):
    """Prepares conversations locally, and publishes each version once to the workspace.

    `reading` contains the limits of the job that reads a hub dataset; None: this machine reads it.
    """

    decides: ClassVar = {
        "raw_conversations": Decides(modules=("azure.dataset.blob_feed",)),
        "chat_dataset": Decides(
            modules=(
                "dataset_preparation",
                "dataset_versions",
                "row_places",
                "azure.dataset.shared_places",
                "azure.storage.data_assets",
                "azure.dataset.blob_feed",
                "azure.jobs.hub_reading",
            ),
            programs=("dataset_code",),
            settings=SUBSCRIPTION,
        ),
    }
    account: dict[str, str]
    state: str
    source: str
    cleaning: dict[str, Any]
    inbox: str = ""
    blob_inbox: str = ""
    reading: dict[str, Any] | None = None
    role_minutes: float = 30.0

    def feeds(self, *, patient: bool = True) -> "list[Feed]":
        from phi_assets.backends.azure.dataset.blob_feed import BlobFeed

        here = self._preparation.feeds()
        if not self.blob_inbox:
            return here
        minutes = self.role_minutes if patient else 0.0
        return [*here, BlobFeed(self._clients, self.blob_inbox, Path(self.state) / "intake" / "blobs", minutes)]

    def source_fingerprint(self) -> str:
        return self._preparation.fingerprint(self.feeds())

    def publish(self, log: Log) -> DatasetVersion:
        published = self._preparation.publish(self.feeds(), log, self._fetch(log), partial(self._places, log))
        path = folder_of(published.digest)
        sent = self._blobs(log).upload(Path(published.address), path)
        log(f"{blob.address(path)}: {sent} files uploaded")
        data_assets.ensure(
            self._clients,
            ASSET,
            published.digest,
            path,
            description="Clean chat turns in frozen train, validation and test splits",
            tags={f"{side}_rows": str(count) for side, count in published.rows.items()},
            log=log,
            role_minutes=self.role_minutes,
        )
        return _on_azure(published)

    def find(self, digest: str) -> DatasetVersion | None:
        if data_assets.find(self._clients, ASSET, digest, log_to_run) is None:
            return None
        here = self._preparation.find(digest)
        if here is None:
            return self._published_elsewhere(digest)
        whole = blob.seems_whole(self._clients, Path(here.address), folder_of(digest))
        return _on_azure(here) if whole else None

    def folder(self, version: DatasetVersion) -> Path:
        folder = Path(self.state) / "datasets" / version.digest
        if self._preparation.find(version.digest) is None:
            self._blobs(log_to_run).download(folder_of(version.digest), folder)
        return folder

    def _published_elsewhere(self, digest: str) -> DatasetVersion | None:
        """Return the version that another machine published, by its manifest in blob storage, if it is whole."""
        blobs, folder = self._blobs(log_to_run), folder_of(digest)
        try:
            manifest = json.loads(blobs.read(folder + MANIFEST))
            sizes = blobs.sizes(folder)
            whole = all(sizes.get(folder + name) == file["bytes"] for name, file in manifest["files"].items())
            found = DatasetVersion(
                digest=manifest["digest"],
                address=blob.address(folder),
                rows=manifest["rows"],
                groups=manifest["groups"],
                pairs=pairs_of(manifest),
            )
        except (ValueError, KeyError, TypeError, AttributeError, blob.NoDatastore):
            return None
        return found if whole and found.digest == digest else None

    def _places(self, log: Log, own: "PlacesFile") -> "SharedPlaces":
        from phi_assets.backends.azure.dataset.shared_places import SharedPlaces

        return SharedPlaces(self._blobs(log), Path(self.state) / "places", own)

    def _fetch(self, log: Log) -> "Callable[[list[Scan]], list[Scan]]":
        if self.reading is None:
            return list
        from phi_assets.backends.azure.jobs.cloud_jobs import JobLimits
        from phi_assets.backends.azure.jobs.hub_reading import HubReading

        limits = JobLimits(role_minutes=self.role_minutes, **{"poll_seconds": POLL_SECONDS, **self.reading})
        return HubReading(self._clients, limits, Path(self.state) / "intake" / "hub", log).bring

    @cached_property
    def _preparation(self) -> DatasetPreparation:
        return DatasetPreparation(Path(self.state), self.source, self.cleaning, self.inbox)

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)

    def _blobs(self, log: Log) -> "WorkspaceBlobs":
        return blob.WorkspaceBlobs(self._clients, log, self.role_minutes)


def folder_of(digest: str) -> str:
    """The folder of a version in the workspace's container."""
    return f"{ROOT}{digest}/"


def _on_azure(version: DatasetVersion) -> DatasetVersion:
    return DatasetVersion(
        digest=version.digest,
        address=blob.address(folder_of(version.digest)),
        rows=version.rows,
        groups=version.groups,
        pairs=version.pairs,
    )
