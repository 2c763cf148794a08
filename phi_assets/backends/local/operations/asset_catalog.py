"""The asset catalog of a home."""

from pathlib import Path

from phi_assets.backends.document_catalog import DocumentCatalog
from phi_assets.backends.documents import FolderDocuments


class HomeCatalog(DocumentCatalog):
    """A catalog in the folder `catalog` of a home: any Dagster instance that uses the home follows it."""

    state: str

    def documents(self, name: str) -> FolderDocuments:
        return FolderDocuments(Path(self.state) / "catalog" / name)
