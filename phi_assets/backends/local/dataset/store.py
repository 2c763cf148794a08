"""Dataset versions as folders under the home."""

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from phi_assets.ports.base import Log
from phi_assets.ports.dataset import DatasetStore
from phi_assets.records import DatasetVersion

if TYPE_CHECKING:
    from phi_assets.backends.dataset_versions import LocalDatasets, Published
    from phi_assets.conversations.sources.feeds import Feed, Look


class LocalDatasetStore(DatasetStore):
    """Reads what PHI_DATASET names and the inbox, and publishes JSON Lines on this machine."""

    state: str
    source: str
    cleaning: dict[str, Any]
    inbox: str = ""

    def feeds(self, *, patient: bool = True) -> "list[Feed]":
        from phi_assets.conversations.sources.address import FileSource, parse_source
        from phi_assets.conversations.sources.feeds import FolderFeed, NamedFeed
        from phi_assets.conversations.sources.hash_cache import Hashes

        del patient  # nothing here is on its way
        hashes = Hashes(Path(self.state) / "intake" / "hashes.json")
        named = parse_source(self.source)
        if not self.inbox:
            return [NamedFeed(named, hashes)]
        inbox = Path(self.inbox)
        path = named.path if isinstance(named, FileSource) else None
        if path == inbox:
            return [FolderFeed(inbox, hashes)]
        around = path is not None and path in inbox.parents  # then the inbox reads what is in it, by its own rule
        return [
            NamedFeed(named, hashes, inbox if around else None),
            FolderFeed(inbox, hashes, None if around else path),
        ]

    def source_fingerprint(self) -> str:
        return self.fingerprint_of(self.feeds())

    def publish(self, log: Log) -> DatasetVersion:
        return self.publish_from(self.feeds(), log)

    def fingerprint_of(self, feeds: "Iterable[Feed]") -> str:
        from phi_assets.conversations.sources.feeds import fingerprint, look_when_settled

        return fingerprint(look_when_settled(feeds, dg.get_dagster_logger().info))

    def publish_from(
        self, feeds: "Iterable[Feed]", log: Log, bring: "Callable[[list[Look]], list[Look]]" = list
    ) -> DatasetVersion:
        """The version that these feeds give. `bring` may put what they hold elsewhere, as files on this machine."""
        from phi_assets.conversations.options import CleaningOptions
        from phi_assets.conversations.prepare import prepare
        from phi_assets.conversations.sources.feeds import look_when_settled

        looks = bring(look_when_settled(feeds, log))
        for look in looks:
            for each in look.left:
                log(f"left alone: {look.feed}/{each.name}: {each.reason}")
        prepared = prepare(
            looks,
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
        from phi_assets.backends.dataset_versions import LocalDatasets

        return LocalDatasets(Path(self.state) / "datasets")


def _record(published: "Published") -> DatasetVersion:
    return DatasetVersion(
        digest=published.digest,
        address=str(published.folder),
        rows=dict(published.manifest["rows"]),
        groups=dict(published.manifest["groups"]),
    )
