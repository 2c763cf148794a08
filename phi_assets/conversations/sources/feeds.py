"""Feeds: the sources of raw conversations. Each lists what it holds now and what it skips.

A new kind of source is one class with a `title` and a `scan`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from phi_assets.conversations.formats.file_names import SUPPORTED, beside_arrow, is_data
from phi_assets.conversations.rows import SourceError, shown
from phi_assets.conversations.sources.address import FileSource, HubSource, RowsFile
from phi_assets.conversations.sources.complete_files import QUIET_SECONDS, unfinished
from phi_assets.conversations.sources.hash_cache import Hashes
from phi_assets.files import file_sha256

SETTLED_SECONDS = 30.0


@dataclass(frozen=True)
class Piece:
    """A whole file, or a split of a hub dataset, with the hash (hex) of its content.

    `stamp` is the file's size and modification time in nanoseconds when it was hashed; it shows later changes.
    """

    name: str
    origin: Path | HubSource | RowsFile
    sha256: str
    stamp: tuple[int, int] | None = None


@dataclass(frozen=True)
class Skipped:
    """A file that is skipped, and the reason. `known`: an earlier version was complete, so it is being rewritten."""

    name: str
    reason: str
    known: bool = False


@dataclass(frozen=True)
class Scan:
    """The content of a feed at one time, in the order of reading."""

    feed: str
    pieces: tuple[Piece, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def changing(self) -> bool:
        """Whether a file that was complete before is being rewritten, and will soon be complete again."""
        return any(each.known for each in self.skipped)


class Feed(Protocol):
    """A source of conversations."""

    @property
    def title(self) -> str:
        """The name shown to users: a path or an address."""
        ...

    def scan(self) -> Scan:
        """The current content. Raises when the source can't be reached."""
        ...


@dataclass(frozen=True)
class FolderFeed:
    """Every complete file of a folder tree, except those under `apart_from`; a missing folder is empty."""

    folder: Path
    hashes: Hashes
    apart_from: Path | None = None
    quiet_seconds: float = QUIET_SECONDS

    @property
    def title(self) -> str:
        return str(self.folder)

    def scan(self) -> Scan:
        others: list[Skipped] = []
        candidates: list[tuple[str, Path]] = []
        for path in _visible(self.folder):
            name = shown(path.relative_to(self.folder).as_posix())
            if self.apart_from and (path == self.apart_from or self.apart_from in path.parents):
                continue
            if is_data(name):
                candidates.append((name, path))
            else:
                others.append(Skipped(name, f"it is not one of {SUPPORTED}"))
        without = beside_arrow([name for name, _ in candidates])
        candidates = [(name, path) for name, path in candidates if name not in without]
        return _scan(self.title, candidates, others, self.hashes, self.quiet_seconds)


@dataclass(frozen=True)
class NamedFeed:
    """The source that PHI_DATASET names. The user chose it, so no quiet time has to pass before it is read.

    A single file is read as it is; in a folder, only the complete files. `apart_from` is a folder inside it that
    another feed reads.
    """

    source: FileSource | HubSource
    hashes: Hashes
    apart_from: Path | None = None

    @property
    def title(self) -> str:
        return str(self.source)

    def scan(self) -> Scan:
        """The current content. Raises SourceError when there is nothing to read, or the hub can't be reached."""
        if isinstance(self.source, HubSource):
            return Scan(self.title, pieces_of(self.source))
        files = [
            (name, path)
            for name, path in self.source.files()
            if not (self.apart_from and self.apart_from in path.parents)
        ]
        if self.source.path.is_file():
            return Scan(self.title, pieces_of(self.source, self.hashes))
        return _scan(self.title, files, [], self.hashes, quiet_seconds=0.0)


def scan_when_settled(
    feeds: Iterable[Feed], log: Callable[[str], None], seconds: float = SETTLED_SECONDS
) -> list[Scan]:
    """The content of the feeds, after waiting at most `seconds` for known files that are being rewritten.

    Without the wait, this dataset version would lack those files and the next one would contain them again.
    """
    feeds, deadline = list(feeds), time.monotonic() + seconds
    while True:
        scans = [feed.scan() for feed in feeds]
        changing = [f"{each.name}: {each.reason}" for scan in scans for each in scan.skipped if each.known]
        if not changing or time.monotonic() >= deadline:
            return scans
        log(f"waiting for {'; '.join(changing)}")
        time.sleep(1)


def pieces_of(source: FileSource | HubSource, hashes: Hashes | None = None) -> tuple[Piece, ...]:
    """Everything that the source holds, complete or not. Raises SourceError when it is missing or can't be reached."""
    if isinstance(source, HubSource):
        from phi_assets.conversations.sources.hub_dataset import commit_of

        commit = commit_of(source)
        identity = f"{source.name}\0{commit}\0{source.split}"
        pinned = replace(source, revision=commit)
        return (Piece(str(source), pinned, hashlib.sha256(identity.encode()).hexdigest()),)
    return tuple(_piece(name, path, path_stat(path), hashes) for name, path in source.files())


def fingerprint(scans: Iterable[Scan], forgotten: Iterable[str] = ()) -> str:
    """SHA-256 (hex) over the set of contents and of what was taken back; names and copies make no difference."""
    return digest_of([*(piece.sha256 for scan in scans for piece in scan.pieces), *forgotten])


def digest_of(contents: Iterable[str]) -> str:
    """SHA-256 (hex) over a set of hashes."""
    return hashlib.sha256("\n".join(sorted(set(contents))).encode()).hexdigest()


def path_stat(path: Path) -> os.stat_result:
    """Size and times of a file. Raises SourceError when it is missing or not accessible."""
    try:
        return path.stat()
    except OSError as e:
        raise _unreadable(path, e) from e


def _scan(
    title: str,
    candidates: list[tuple[str, Path]],
    skipped: list[Skipped],
    hashes: Hashes,
    quiet_seconds: float = QUIET_SECONDS,
) -> Scan:
    pieces = []
    for name, path in sorted(candidates):
        known = hashes.knows(path)
        try:
            stat = path.stat()
            # A file that is unchanged since it was hashed was complete then: it is not opened again.
            reason = "" if hashes.find(path, stat) else unfinished(path, stat, quiet_seconds)
            if reason:
                skipped.append(Skipped(name, reason, known))
            else:
                pieces.append(_piece(name, path, stat, hashes))
        except FileNotFoundError:
            continue  # deleted since the folder was listed
        except (OSError, SourceError) as e:
            skipped.append(Skipped(name, f"it can't be read: {getattr(e, 'strerror', None) or e}", known))
    hashes.save()
    return Scan(title, tuple(pieces), tuple(skipped))


def _piece(name: str, path: Path, stat: os.stat_result, hashes: Hashes | None) -> Piece:
    try:
        digest = hashes.of(path, stat) if hashes else file_sha256(path)
    except OSError as e:
        raise _unreadable(path, e) from e
    return Piece(name, path, digest, (stat.st_size, stat.st_mtime_ns))


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(f"can't read {shown(path)}: {error.strerror or error}; check that it exists and may be read")


def _visible(folder: Path) -> Iterator[Path]:
    """Every file below the folder that is not hidden. Raises SourceError for a folder that can't be listed."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise _unreadable(Path(str(error.filename)), error) from error

    for where, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(where, name)
            if not name.startswith(".") and path.is_file():
                yield path
