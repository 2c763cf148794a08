"""Dataset versions as folders under the home."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi_assets.backends.ports import DatasetStore, Log
from phi_assets.records import DatasetVersion

if TYPE_CHECKING:
    from phi_assets.backends.local.datasets import LocalDatasets, Published


class LocalDatasetStore(DatasetStore):
    """Reads what PHI_DATASET names, and publishes JSON Lines on this machine."""

    state: str
    source: str
    cleaning: dict[str, Any]

    def source_fingerprint(self) -> str:
        from phi_assets.conversations.source import fingerprint, parse_source

        return fingerprint(parse_source(self.source))

    def publish(self, log: Log) -> DatasetVersion:
        from phi_assets.conversations.options import CleaningOptions
        from phi_assets.conversations.prepare import prepare
        from phi_assets.conversations.source import parse_source

        prepared = prepare(
            parse_source(self.source),
            CleaningOptions(**self.cleaning),
            self._datasets.assignment(),
            lambda stage, rows: log(f"{stage}: {rows:,} rows"),
        )
        for warning in prepared.split.warnings:
            log(f"warning: {warning}")
        return _record(self._datasets.publish(prepared.split.rows, prepared.quarantine, prepared.facts))

    def find(self, digest: str) -> DatasetVersion | None:
        found = self._datasets.find(digest)
        return _record(found) if found else None

    def folder(self, version: DatasetVersion) -> Path:
        return Path(version.address)

    @cached_property
    def _datasets(self) -> "LocalDatasets":
        from phi_assets.backends.local.datasets import LocalDatasets

        return LocalDatasets(Path(self.state) / "datasets")


def _record(published: "Published") -> DatasetVersion:
    return DatasetVersion(
        digest=published.digest,
        address=str(published.folder),
        rows=dict(published.manifest["rows"]),
        groups=dict(published.manifest["groups"]),
    )
