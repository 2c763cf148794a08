"""A snapshot of all feeds: an unreachable feed does not hide the others, and incomplete changes are not visible."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from phi_assets.conversations.sources.feeds import Feed, Piece, Scan, digest_of
from phi_assets.files import atomic_write

Part = Mapping[str, str]  # names by the hash of their content
CAN_WAIT = "as before, for now"


@dataclass(frozen=True)
class Snapshot:
    """The content of all feeds together. `unknown` names feeds that failed and have no stored content."""

    digest: str
    parts: Mapping[str, Part]
    scans: tuple[Scan, ...]
    failures: Mapping[str, str]
    unknown: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]

    def skipped(self) -> list[str]:
        return [f"{each.name}, {each.reason}" for scan in self.scans for each in scan.skipped]

    def counts(self) -> str:
        """The number of files in each feed, as text."""
        counts = [f"{len(part)} in {title}" for title, part in self.parts.items()]
        return "; ".join(counts) or "no feed could be read"

    def troubles(self) -> list[str]:
        """A message for each feed that could not be read."""
        return [f"{title}: {message} ({CAN_WAIT})" for title, message in self.failures.items()]


def take_snapshot(feeds: Iterable[Feed], stored: Path) -> Snapshot:
    """Read every feed. The stored content of a feed is used when the feed fails or is being rewritten.

    The contents are stored in the file `stored`; when that is lost, only the current content of each feed counts.
    """
    last, parts, scans = _read(stored), {}, []
    failures: dict[str, str] = {}
    unknown: list[str] = []
    for feed in feeds:
        title = feed.title
        try:
            scan = feed.scan()
        except Exception as e:  # an error of one feed must not stop the others
            failures[title] = _brief(e)
            if title in last:
                parts[title] = last[title]
            else:
                unknown.append(title)
            continue
        scans.append(scan)
        parts[title] = last[title] if scan.changing and title in last else _part(scan.pieces)
    before = {digest for part in last.values() for digest in part}
    now = {digest: name for part in parts.values() for digest, name in part.items()}
    old = {digest: name for part in last.values() for digest, name in part.items()}
    if parts != last:
        atomic_write(stored, orjson.dumps({**{title: last[title] for title in unknown if title in last}, **parts}))
    return Snapshot(
        digest=digest_of(now),
        parts=parts,
        scans=tuple(scans),
        failures=failures,
        unknown=tuple(unknown),
        new=tuple(sorted(now[digest] for digest in now.keys() - before)),
        gone=tuple(sorted(old[digest] for digest in old.keys() - now.keys())),
    )


def _part(pieces: Iterable[Piece]) -> Part:
    names: dict[str, str] = {}
    for piece in pieces:
        names.setdefault(piece.sha256, piece.name)
    return names


def _brief(error: Exception) -> str:
    message = str(getattr(error, "description", None) or error).strip()
    return message.splitlines()[0] if message else type(error).__name__


def _read(file: Path) -> dict[str, Part]:
    with suppress(OSError, ValueError):
        stored = orjson.loads(file.read_bytes())
        if isinstance(stored, dict):
            return {title: part for title, part in stored.items() if isinstance(part, dict)}
    return {}
