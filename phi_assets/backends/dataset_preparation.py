"""Reads, cleans, splits and publishes conversations in a local folder; both dataset stores use it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from phi_assets.backends.disk_space import require_space
from phi_assets.files import private_folder
from phi_assets.ports.base import Log
from phi_assets.records import DatasetVersion
from phi_assets.settings import Settings

if TYPE_CHECKING:
    from phi_assets.backends.dataset_versions import DatasetFolders, Published
    from phi_assets.backends.row_places import Places, PlacesFile
    from phi_assets.conversations.sources.feeds import Feed, Scan

FEEDBACK = Path("feedback", "approved")
"""The folder of the chat's approved feedback, in the folder of a backend."""
ATTEMPTS = 5  # of preparing, while other machines publish
# Twice the text for the version with its identifiers, and three times for temporary files.
PACKED, UNPACKED, PLAIN = (".parquet", ".gz", ".zst"), 50, 5


@dataclass
class DatasetPreparation:
    """Makes dataset versions under `state` from the dataset that `source` names and from the folder `inbox`.

    `cleaning` holds the fields of CleaningOptions. Raises SourceError when the source cannot be read.
    """

    state: Path
    source: str
    cleaning: dict[str, Any]
    inbox: str = ""

    def feeds(self) -> "list[Feed]":
        """Where conversations come from, in reading order: the named dataset, the inbox, the chat's feedback."""
        from phi_assets.conversations.sources.address import FileSource, parse_source
        from phi_assets.conversations.sources.feeds import FolderFeed, NamedFeed
        from phi_assets.conversations.sources.hash_cache import Hashes

        hashes = Hashes(self.state / "intake" / "hashes.json")
        named = parse_source(self.source)
        # Its files are moved to their place when they are complete.
        feedback = FolderFeed(self.state / FEEDBACK, hashes, quiet_seconds=0.0)
        if not self.inbox:
            return [NamedFeed(named, hashes), feedback]
        inbox = Path(self.inbox)
        path = named.path if isinstance(named, FileSource) else None
        if path == inbox:
            return [FolderFeed(inbox, hashes), feedback]
        around = path is not None and path in inbox.parents  # then FolderFeed reads the inbox, with its quiet time
        return [
            NamedFeed(named, hashes, inbox if around else None),
            FolderFeed(inbox, hashes, None if around else path),
            feedback,
        ]

    def fingerprint(self, feeds: "Iterable[Feed]") -> str:
        """SHA-256 over the set of contents of these feeds, after waiting for files that are being written."""
        from phi_assets.conversations.sources.feeds import fingerprint, scan_when_settled

        return fingerprint(scan_when_settled(feeds, dg.get_dagster_logger().info), self._forgotten())

    def publish(
        self,
        feeds: "Iterable[Feed]",
        log: Log,
        fetch: "Callable[[list[Scan]], list[Scan]]" = list,
        places: "Callable[[PlacesFile], Places] | None" = None,
    ) -> DatasetVersion:
        """Publish the version of these feeds. `fetch` may download remote content to local files.

        `places` returns the places that several machines share, from those of this one.
        """
        from phi_assets.backends.row_places import PlacesChanged
        from phi_assets.conversations.options import CleaningOptions
        from phi_assets.conversations.prepare import prepare
        from phi_assets.conversations.progress import Pace
        from phi_assets.conversations.sources.feeds import scan_when_settled

        scans = fetch(scan_when_settled(feeds, log))
        require_space(self.state / "datasets", _bytes_of(scans), "a new dataset version")
        for scan in scans:
            for each in scan.skipped:
                log(f"skipped: {scan.feed}/{each.name}: {each.reason}")
        versions = self._versions
        if places:
            versions = type(versions)(versions.root, places(versions.own_places()))
        for attempts_left in reversed(range(ATTEMPTS)):
            prepared = prepare(
                scans,
                CleaningOptions(**self.cleaning),
                versions.assignment(),
                Pace(log),
                private_folder(versions.root),
                reviewed={str(self.state / FEEDBACK)},
                forgotten=self._forgotten(),
            )
            try:
                published = versions.publish(
                    prepared.split.rows, prepared.quarantine, prepared.facts, prepared.preferences
                )
            except PlacesChanged as e:
                if not attempts_left:
                    raise
                log(str(e))
                continue
            if prepared.facts["own_splits"]:
                kept = ", ".join(f"{rows:,} in {side}" for side, rows in prepared.facts["own_splits"].items())
                log(f"the data's own splits are respected: {kept} (PHI_OWN_SPLITS)")
            for warning in prepared.facts["warnings"]:
                log(f"warning: {warning}")
            return _record(published)
        raise AssertionError("the last attempt returns or raises")

    def find(self, digest: str) -> DatasetVersion | None:
        """The version with this digest in the folder of this machine; None when it is missing or damaged."""
        found = self._versions.find(digest)
        return _record(found) if found else None

    def _forgotten(self) -> frozenset[str]:
        """What people of the chat took back."""
        from phi_assets.conversations.feedback import tombstones

        return tombstones.read(self.state / FEEDBACK.parent).pairs

    @cached_property
    def _versions(self) -> "DatasetFolders":
        from phi_assets.backends.dataset_versions import DatasetFolders

        return DatasetFolders(self.state / "datasets")


def _bytes_of(scans: "Iterable[Scan]") -> int:
    """Return the bytes of a version of these files, as JSON Lines with identifiers, and of what it takes to make it."""
    pieces = [piece for scan in scans for piece in scan.pieces if piece.stamp]
    return sum((UNPACKED if piece.name.endswith(PACKED) else PLAIN) * piece.stamp[0] for piece in pieces if piece.stamp)


def cleaning_options(settings: Settings) -> dict[str, Any]:
    """The settings of cleaning and splitting, by the names of CleaningOptions."""
    return {
        "columns": settings.columns,
        "validation_share": settings.validation_share,
        "test_share": settings.test_share,
        "near_duplicate_threshold": settings.near_duplicate_threshold,
        "personal_data": settings.personal_data,
        "regions": settings.regions,
        "names_model": settings.names_model_folder,
        "max_characters": settings.max_conversation_characters,
        "long_conversations": settings.long_conversations,
        "repairs": chosen_repairs(settings.repairs),
        "keep_fields": list(settings.keep_fields),
        "preferences": settings.preferences,
        "own_splits": settings.own_splits,
        "template_tokens": list(settings.template_tokens),
        # Dagster's config has no null.
        **({"max_tokens": settings.max_conversation_tokens} if settings.max_conversation_tokens else {}),
    }


def chosen_repairs(names: Sequence[str]) -> list[str]:
    """The repairs that PHI_REPAIRS chooses."""
    from phi_assets.conversations.repairs import REPAIRS

    left_out = [name.removeprefix("-") for name in names if name.startswith("-")]
    if left_out or names == ("all",):
        return [name for name in REPAIRS if name not in left_out]
    return [name for name in REPAIRS if name in names]


def _record(published: "Published") -> DatasetVersion:
    return DatasetVersion(
        digest=published.digest,
        address=str(published.folder),
        rows=dict(published.manifest["rows"]),
        groups=dict(published.manifest["groups"]),
        pairs=pairs_of(published.manifest),
    )


def pairs_of(manifest: Mapping[str, Any]) -> int:
    """The number of preference pairs; 0 in a version of a release that did not place them in the splits."""
    return sum(manifest.get("pairs", {}).values())
