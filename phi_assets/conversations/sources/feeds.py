"""Feeds: the places that raw conversations come from. Each looks, and says what it holds now and what it leaves alone.

A new kind of place is one class with a `title` and a `look`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from phi_assets.conversations.rows import SourceError
from phi_assets.conversations.sources.address import SUFFIXES, FileSource, HubSource, RowsFile
from phi_assets.conversations.sources.complete_files import QUIET_SECONDS, Writers, unfinished
from phi_assets.conversations.sources.hash_cache import Hashes
from phi_assets.files import file_sha256

SETTLED_SECONDS = 30.0


@dataclass(frozen=True)
class Piece:
    """A whole file, or a split of a hub dataset, with the hash (hex) of its content.

    `stamp`, a file's size and time of change in nanoseconds when it was hashed, tells whether it was changed since.
    """

    name: str
    origin: Path | HubSource | RowsFile
    sha256: str
    stamp: tuple[int, int] | None = None


@dataclass(frozen=True)
class LeftAlone:
    """A file that is not read now, and why. `known`: it was whole before, and is being changed."""

    name: str
    reason: str
    known: bool = False


@dataclass(frozen=True)
class Look:
    """What a feed held when it was looked at, in the order of reading."""

    feed: str
    pieces: tuple[Piece, ...] = ()
    left: tuple[LeftAlone, ...] = ()

    @property
    def changing(self) -> bool:
        """Whether something of what it held before is just being changed, so that a moment later it holds it again."""
        return any(each.known for each in self.left)


class Feed(Protocol):
    """A place that conversations come from."""

    @property
    def title(self) -> str:
        """What a person calls it: a path, an address."""
        ...

    def look(self) -> Look:
        """What it holds now. Raises when it can't be reached."""
        ...


@dataclass(frozen=True)
class FolderFeed:
    """Every complete file of a folder and its subfolders but those under `apart_from`; a missing folder is empty."""

    folder: Path
    hashes: Hashes
    apart_from: Path | None = None

    @property
    def title(self) -> str:
        return str(self.folder)

    def look(self) -> Look:
        others: list[LeftAlone] = []
        candidates: list[tuple[str, Path]] = []
        for path in _visible(self.folder):
            name = path.relative_to(self.folder).as_posix()
            if self.apart_from and (path == self.apart_from or self.apart_from in path.parents):
                continue
            if path.suffix.lower() in SUFFIXES:
                candidates.append((name, path))
            else:
                others.append(LeftAlone(name, f"it is not one of {', '.join(SUFFIXES)}"))
        return _look(self.title, candidates, others, self.hashes)


@dataclass(frozen=True)
class NamedFeed:
    """What PHI_DATASET names. A person named it, so it need not lie still before it is read.

    A single file is read as it is unless somebody is writing it; of a folder, only what is whole. `apart_from` is a
    folder inside it that another feed reads.
    """

    source: FileSource | HubSource
    hashes: Hashes
    apart_from: Path | None = None

    @property
    def title(self) -> str:
        return str(self.source)

    def look(self) -> Look:
        """Raises SourceError when there is nothing to read, or the hub can't be reached."""
        if isinstance(self.source, HubSource):
            return Look(self.title, pieces_of(self.source))
        files = [
            (name, path)
            for name, path in self.source.files()
            if not (self.apart_from and self.apart_from in path.parents)
        ]
        if self.source.path.is_file():
            if Writers().hold(self.source.path):
                raise SourceError(f"{self.source} is still being written; wait for its writer, and run again")
            return Look(self.title, pieces_of(self.source, self.hashes))
        return _look(self.title, files, [], self.hashes, quiet_seconds=0.0)


def look_when_settled(
    feeds: Iterable[Feed], log: Callable[[str], None], seconds: float = SETTLED_SECONDS
) -> list[Look]:
    """What the feeds hold, waiting a while for files that were whole before and are just being changed.

    Without the wait, what is read meanwhile would lack them, and the next reading bring them back.
    """
    feeds, deadline = list(feeds), time.monotonic() + seconds
    while True:
        looks = [feed.look() for feed in feeds]
        changing = [f"{each.name}: {each.reason}" for look in looks for each in look.left if each.known]
        if not changing or time.monotonic() >= deadline:
            return looks
        log(f"waiting for {'; '.join(changing)}")
        time.sleep(1)


def pieces_of(source: FileSource | HubSource, hashes: Hashes | None = None) -> tuple[Piece, ...]:
    """Everything that the source holds, whole or not. Raises SourceError when it is missing or can't be reached."""
    if isinstance(source, HubSource):
        from phi_assets.conversations.sources.hub_dataset import commit_of

        commit = commit_of(source)
        told = f"{source.name}\0{commit}\0{source.split}"
        pinned = replace(source, revision=commit)
        return (Piece(str(source), pinned, hashlib.sha256(told.encode()).hexdigest()),)
    return tuple(_piece(name, path, path_stat(path), hashes) for name, path in source.files())


def fingerprint(looks: Iterable[Look]) -> str:
    """SHA-256 (hex) over the set of contents: neither names nor copies count."""
    return digest_of(piece.sha256 for look in looks for piece in look.pieces)


def digest_of(contents: Iterable[str]) -> str:
    """SHA-256 (hex) over a set of hashes."""
    return hashlib.sha256("\n".join(sorted(set(contents))).encode()).hexdigest()


def path_stat(path: Path) -> os.stat_result:
    """Size and times of a file. Raises SourceError when it is gone or may not be looked at."""
    try:
        return path.stat()
    except OSError as e:
        raise _unreadable(path, e) from e


def _look(
    title: str,
    candidates: list[tuple[str, Path]],
    left: list[LeftAlone],
    hashes: Hashes,
    quiet_seconds: float = QUIET_SECONDS,
) -> Look:
    pieces, writers = [], Writers()
    for name, path in sorted(candidates):
        known = hashes.knows(path)
        try:
            found = path.stat()
            reason = unfinished(path, found, writers, quiet_seconds)
            if reason:
                left.append(LeftAlone(name, reason, known))
            else:
                pieces.append(_piece(name, path, found, hashes))
        except FileNotFoundError:
            continue  # taken away since the folder was listed
        except (OSError, SourceError) as e:
            left.append(LeftAlone(name, f"it can't be read: {getattr(e, 'strerror', None) or e}", known))
    hashes.keep()
    return Look(title, tuple(pieces), tuple(left))


def _piece(name: str, path: Path, found: os.stat_result, hashes: Hashes | None) -> Piece:
    try:
        digest = hashes.of(path, found) if hashes else file_sha256(path)
    except OSError as e:
        raise _unreadable(path, e) from e
    return Piece(name, path, digest, (found.st_size, found.st_mtime_ns))


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(f"can't read {path}: {error.strerror or error}; check that it exists and may be read")


def _visible(folder: Path) -> Iterator[Path]:
    """Every file below the folder that is not hidden. Raises SourceError for a folder that may not be listed."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise _unreadable(Path(str(error.filename)), error) from error

    for where, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(where, name)
            if not name.startswith(".") and path.is_file():
                yield path
