"""What a watch sees of the feeds: one that can't be reached hides no other, and nothing half done is seen."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from phi_assets.conversations.sources.feeds import Feed, Look, Piece, digest_of
from phi_assets.files import atomic_write

Part = Mapping[str, str]  # names by the hash of their content
CAN_WAIT = "as before, for now"


@dataclass(frozen=True)
class Seen:
    """The parts of all feeds together. `unknown` names feeds that failed and were never seen before."""

    digest: str
    parts: Mapping[str, Part]
    looks: tuple[Look, ...]
    failures: Mapping[str, str]
    unknown: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]

    def left_alone(self) -> list[str]:
        return [f"{each.name}, {each.reason}" for look in self.looks for each in look.left]

    def counts(self) -> str:
        """How many files there are in each place, in words."""
        said = [f"{len(part)} in {title}" for title, part in self.parts.items()]
        return "; ".join(said) or "no place could be looked at"

    def troubles(self) -> list[str]:
        """What could not be seen, in words."""
        return [f"{title}: {words} ({CAN_WAIT})" for title, words in self.failures.items()]


def see(feeds: Iterable[Feed], kept: Path) -> Seen:
    """Look at every feed. The part that a feed held last is used when it fails, or changes what it held.

    The parts are kept in the file `kept`; when that is lost, each feed is only what it holds now.
    """
    last, parts, looks = _read(kept), {}, []
    failures: dict[str, str] = {}
    unknown: list[str] = []
    for feed in feeds:
        title = feed.title
        try:
            look = feed.look()
        except Exception as e:  # whatever one place raises, the others are looked at
            failures[title] = _brief(e)
            if title in last:
                parts[title] = last[title]
            else:
                unknown.append(title)
            continue
        looks.append(look)
        parts[title] = last[title] if look.changing and title in last else _part(look.pieces)
    before = {digest for part in last.values() for digest in part}
    now = {digest: name for part in parts.values() for digest, name in part.items()}
    old = {digest: name for part in last.values() for digest, name in part.items()}
    if parts != last:
        atomic_write(kept, orjson.dumps({**{title: last[title] for title in unknown if title in last}, **parts}))
    return Seen(
        digest=digest_of(now),
        parts=parts,
        looks=tuple(looks),
        failures=failures,
        unknown=tuple(unknown),
        new=tuple(sorted(now[digest] for digest in now.keys() - before)),
        gone=tuple(sorted(old[digest] for digest in old.keys() - now.keys())),
    )


def _part(pieces: Iterable[Piece]) -> Part:
    found: dict[str, str] = {}
    for piece in pieces:
        found.setdefault(piece.sha256, piece.name)
    return found


def _brief(error: Exception) -> str:
    said = str(getattr(error, "description", None) or error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def _read(kept: Path) -> dict[str, Part]:
    with suppress(OSError, ValueError):
        found = orjson.loads(kept.read_bytes())
        if isinstance(found, dict):
            return {title: part for title, part in found.items() if isinstance(part, dict)}
    return {}
