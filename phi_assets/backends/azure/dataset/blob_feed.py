"""A feed of conversations in blob storage: mirrors the blobs under a prefix of the workspace's container locally."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run, with_deadline
from phi_assets.backends.azure.storage.blob import NoDatastore, WorkspaceBlobs
from phi_assets.conversations.formats.file_names import SUPPORTED, beside_arrow, is_data
from phi_assets.conversations.sources.feeds import Piece, Scan, Skipped
from phi_assets.files import atomic_write, file_sha256

SCAN_SECONDS = 45.0  # Dagster's timeout for a sensor tick is 60
INDEX = "index.json"


@dataclass(frozen=True)
class BlobFeed:
    """Every blob under `prefix`: Azure lists a blob only once it is committed, so that each is complete.

    Only new and changed blobs are downloaded, and deleted ones are removed from the mirror. Before the workspace exists
    the feed is empty. `role_minutes` is how long to wait for a role; 0 limits a scan to SCAN_SECONDS, for a sensor.
    """

    clients: AzureClients
    prefix: str
    mirror: Path
    role_minutes: float

    @property
    def title(self) -> str:
        return f"blobs under {self.prefix}"

    def scan(self) -> Scan:
        """Read the feed. Raises AzureRefused, NotSignedIn or GaveUp when the container cannot be read."""
        if self.role_minutes:
            return self._scan()
        return with_deadline(f"reading {self.title}", self._scan, SCAN_SECONDS)

    def _scan(self) -> Scan:
        blobs = WorkspaceBlobs(self.clients, log_to_run, self.role_minutes)
        try:
            etags = blobs.etags(self.prefix)
        except (NotDeployed, NoDatastore):
            return Scan(self.title)
        read, left = self._classified(etags)
        index = self._index()
        self._forget(index, read)
        pieces = []
        for name in read:
            held = self._held(name, index.get(name), etags[name])
            if held is None:
                target = self.mirror / _file_name(name)
                blobs.fetch(name, target)
                held = {"etag": etags[name], "sha256": file_sha256(target), "bytes": target.stat().st_size}
                index[name] = held
                self._keep(index)
            if held["bytes"]:
                path = self.mirror / _file_name(name)
                found = path.stat()
                pieces.append(Piece(name, path, held["sha256"], (found.st_size, found.st_mtime_ns)))
            else:
                left.append(Skipped(name, "it is empty"))
        return Scan(self.title, tuple(pieces), tuple(left))

    def _classified(self, etags: Mapping[str, str]) -> tuple[list[str], list[Skipped]]:
        """The sorted names to read, and those to skip with the reason; folders and hidden files are ignored."""
        read, left = [], []
        for name in sorted(etags):
            within = PurePosixPath(name.removeprefix(self.prefix))
            if name.endswith("/") or any(part.startswith(".") for part in within.parts):
                continue
            if is_data(name):
                read.append(name)
            else:
                left.append(Skipped(name, f"it is not one of {SUPPORTED}"))
        without = beside_arrow(read)
        return [name for name in read if name not in without], left

    def _held(self, name: str, entry: dict | None, etag: str) -> dict | None:
        """The index's entry if the mirror has the blob with this ETag; else None."""
        if not entry or entry.get("etag") != etag:
            return None
        file = self.mirror / _file_name(name)
        return entry if file.is_file() and file.stat().st_size == entry["bytes"] else None

    def _forget(self, index: dict[str, dict], read: list[str]) -> None:
        gone = [name for name in index if name not in read]
        for name in gone:
            (self.mirror / _file_name(name)).unlink(missing_ok=True)
            del index[name]
        if gone:
            self._keep(index)

    def _index(self) -> dict[str, dict]:
        with suppress(OSError, ValueError):
            found = json.loads((self.mirror / INDEX).read_text(encoding="utf-8"))
            wanted = {"etag", "sha256", "bytes"}
            return {name: entry for name, entry in found.items() if isinstance(entry, dict) and wanted <= set(entry)}
        return {}

    def _keep(self, index: Mapping[str, dict]) -> None:
        atomic_write(self.mirror / INDEX, json.dumps(index))


def _file_name(blob: str) -> str:
    """A local file name derived from a hash, so that a blob's name cannot escape the folder."""
    return hashlib.sha256(blob.encode()).hexdigest()[:32] + PurePosixPath(blob).suffix.lower()
