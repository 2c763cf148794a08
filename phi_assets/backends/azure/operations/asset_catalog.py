"""The asset catalog of a project on Azure, in the workspace's container."""

from functools import lru_cache
from pathlib import Path

from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.backends.azure.storage.blob_documents import BlobDocuments
from phi_assets.backends.document_catalog import MERGE, DocumentCatalog
from phi_assets.backends.documents import FolderDocuments, UnsentDocuments
from phi_assets.ports.base import Log

ROOT = "phi/catalog/"


class AzureCatalog(DocumentCatalog):
    """A catalog in blob storage. Reading does not wait for roles: what reads may be a sensor, or a command.

    What is made before the container exists, or before a role takes effect, is sent later.
    """

    account: dict[str, str]
    state: str
    role_minutes: float = 30.0

    def wait_until_readable(self, log: Log) -> None:
        WorkspaceBlobs(clients(self.account), log, self.role_minutes).names(ROOT)

    def documents(self, name: str) -> UnsentDocuments:
        state = Path(self.state)
        shared = BlobDocuments(_blobs(clients(self.account)), f"{ROOT}{name}/", state / "cache" / "catalog" / name)
        return UnsentDocuments(shared, FolderDocuments(state / "catalog" / name), MERGE[name])


@lru_cache(maxsize=8)
def _blobs(of: AzureClients) -> WorkspaceBlobs:
    """Kept for the process: it asks once where the container is."""
    return WorkspaceBlobs(of, log_to_run, role_minutes=0.0)
