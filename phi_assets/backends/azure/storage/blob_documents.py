"""Small documents in the workspace's container, whose versions are ETags, with a cache in the home."""

import hashlib
from pathlib import Path

from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.storage.blob import NoDatastore, WorkspaceBlobs
from phi_assets.files import atomic_write


class BlobDocuments:
    """The blobs under `root`, which ends in a slash. `cache` has copies, by name and ETag."""

    def __init__(self, blobs: WorkspaceBlobs, root: str, cache: Path) -> None:
        self._blobs, self._root, self._cache = blobs, root, cache

    def versions(self) -> dict[str, str]:
        try:
            found = self._blobs.etags(self._root)
        except (NoDatastore, NotDeployed):
            return {}
        return {name.removeprefix(self._root): etag for name, etag in found.items()}

    def all(self) -> dict[str, bytes]:
        versions = self.versions()
        files = {name: self._file(name, etag) for name, etag in versions.items()}
        found = {}
        for name, file in files.items():
            if not file.is_file():
                content, etag = self.read(name) or (b"", "")
                if not etag:
                    continue  # removed since it was listed
                file = self._file(name, etag)
                atomic_write(file, content, durable=False)
                files[name] = file
            found[name] = file.read_bytes()
        for outdated in set(self._cache.rglob("*.json")) - set(files.values()):
            outdated.unlink(missing_ok=True)
        return found

    def read(self, name: str) -> tuple[bytes, str] | None:
        try:
            return self._blobs.tagged(self._root + name)
        except (NoDatastore, NotDeployed):
            return None

    def replace(self, name: str, content: bytes, version: str | None) -> bool:
        return self._blobs.replace(self._root + name, content, version)

    def _file(self, name: str, etag: str) -> Path:
        etag = etag.strip('"')  # a download has quotes around the ETag, a listing has none
        mark = hashlib.sha256(f"{name}\n{etag}".encode()).hexdigest()[:32]
        return self._cache / f"{mark}.json"
