"""Converts raw conversations to a split dataset, with a record of every row that was dropped or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phi_assets.conversations.cleaning import Cleaner
from phi_assets.conversations.formats.preferences import Preference
from phi_assets.conversations.grouping import Assignment, Side
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.own_splits import COLUMN, are_splits, side_of_file, side_of_row
from phi_assets.conversations.quarantine import Quarantined, change, count_kinds, count_reasons, drop, drop_broken
from phi_assets.conversations.rows import Broken, Conversation, Message, Rejected, Row, SourceError, conversation_id
from phi_assets.conversations.sources.feeds import Piece, Scan, fingerprint, path_stat
from phi_assets.conversations.sources.read_source import read_source
from phi_assets.conversations.splitting import Split, split, verbatim_share

Progress = Callable[[str, int], None]
_STEP = 1_000


@dataclass(frozen=True)
class Prepared:
    """A split dataset, its dropped and changed rows, and the facts about both for the manifest."""

    split: Split
    quarantine: list[Quarantined]
    facts: dict[str, Any]
    preferences: list[dict[str, Any]] = field(default_factory=list)


def prepare(
    scans: Iterable[Scan],
    options: CleaningOptions,
    keep: Assignment,
    progress: Progress = lambda stage, rows: None,
) -> Prepared:
    """Read, clean and split the content of the feeds, in their order; rows in `keep` stay in their split.

    The same content under another name is read once. `progress` is called with the stage (`read`, `split`) and a number
    of rows, every thousand rows. Raises SourceError.
    """
    scans = list(scans)
    collection = _Collection(options)
    sources: list[dict[str, Any]] = []
    read: dict[str, str] = {}
    for scan in scans:
        by_name = are_splits({side_of_file(piece.name) for piece in scan.pieces})
        for piece in scan.pieces:
            collection.side = side_of_file(piece.name) if by_name else None
            entry: dict[str, Any] = {"feed": scan.feed, "name": piece.name, "sha256": piece.sha256}
            if first := read.get(piece.sha256):
                sources.append({**entry, "rows": 0, "broken": 0, "same_as": first})
                continue
            read[piece.sha256] = piece.name
            sources.append({**entry, **_take_all(piece, collection, progress)})
    failed = [source for source in sources if source.get("error")]
    if failed and not collection.rows_read:
        more = f"; {len(failed) - 1} more files can't be read either" if len(failed) > 1 else ""
        raise SourceError(f"{failed[0]['error']}{more}")
    progress("read", collection.rows_read)
    own = collection.own_splits() if options.own_splits == "respect" else {}
    made = split(collection.conversations, keep, options, collection.of_one_row, own)
    progress("split", sum(made.counts().values()))
    quarantine = collection.account(made)
    facts = {
        "source": scans[0].feed if scans else "",
        "source_fingerprint": fingerprint(scans),
        "sources": sources,
        "skipped": {f"{scan.feed}: {each.name}": each.reason for scan in scans for each in scan.skipped},
        **_facts(options, collection, made, quarantine),
        "own_splits": dict(Counter(own.values())),
    }
    if own and not collection.by_file:
        facts["unused_keys"].pop(COLUMN, None)
    facts["warnings"] = [*(f"not read, or not to its end: {each['error']}" for each in failed), *made.warnings]
    return Prepared(made, quarantine, facts, [_preference(each) for each in collection.preferences])


def _take_all(piece: Piece, collection: _Collection, progress: Progress) -> dict[str, Any]:
    """Collect and count the rows of a piece; `error` says why the rest of a file can't be read.

    Raises SourceError when a file changed since it was hashed, and when a hub dataset can't be read.
    """
    rows, broken = collection.rows_read, collection.broken
    error = ""
    try:
        for item in read_source(piece.name, piece.origin, collection.options.max_line_bytes):
            collection.take(item)
            if collection.rows_read % _STEP == 0:
                progress("read", collection.rows_read)
    except SourceError as e:
        if not isinstance(piece.origin, Path):
            raise
        error = str(e)  # one file never stops the others
    if piece.stamp and isinstance(piece.origin, Path):
        stat = path_stat(piece.origin)
        if (stat.st_size, stat.st_mtime_ns) != piece.stamp:
            raise SourceError(f"{piece.origin} was changed while it was read; wait for its writer, and run again")
    counts = {"rows": collection.rows_read - rows, "broken": collection.broken - broken}
    return {**counts, "error": error} if error else counts


@dataclass
class _Origin:
    """The source of an accepted conversation; the row itself is stored only when it was changed.

    A row that was split has several conversations; only the first of them stores the row.
    """

    position: int
    file: str
    line: int
    changed: Row | None
    changes: tuple[str, ...]


@dataclass
class _Collection:
    """The rows read so far: accepted conversations by id, and records of the others by position."""

    options: CleaningOptions
    conversations: dict[str, Conversation] = field(default_factory=dict)
    origins: dict[str, _Origin] = field(default_factory=dict)
    dropped: dict[int, Quarantined] = field(default_factory=dict)
    side: Side | None = None
    """The split that the file being read belongs to by its name."""
    by_file: dict[str, Side] = field(default_factory=dict)
    by_column: dict[str, Side] = field(default_factory=dict)
    of_one_row: list[list[str]] = field(default_factory=list)
    rows_read: int = 0
    broken: int = 0

    def __post_init__(self) -> None:
        self._cleaner = Cleaner(self.options)

    @property
    def masked(self) -> Counter[str]:
        return self._cleaner.masked

    @property
    def unused(self) -> Counter[str]:
        return self._cleaner.unused

    @property
    def preferences(self) -> list[Preference]:
        return self._cleaner.preferences

    def take(self, item: Row | Broken) -> None:
        self.rows_read += 1
        shown = self.options.quarantine_characters
        if isinstance(item, Broken):
            self.broken += 1
            self.dropped[self.rows_read] = drop_broken(item, shown)
            return
        try:
            pieces = self._cleaner.clean(item)
        except Rejected as e:
            self.broken += e.kind == "broken"
            self.dropped[self.rows_read] = drop(item, e.reason, e.kind, e.detail, shown)
            return
        known = {conversation_id(piece.conversation): piece for piece in pieces}
        new = {row_id: piece for row_id, piece in known.items() if row_id not in self.origins}
        if not new:
            first = self.origins[next(iter(known))]
            detail = f"the same as {first.file}, line {first.line}"
            self.dropped[self.rows_read] = drop(item, "exact_duplicate", "duplicate", detail, shown)
            return
        if len(new) > 1:
            self.of_one_row.append(list(new))
        changed: Row | None = item
        for row_id, (conversation, changes) in new.items():
            self.conversations[row_id] = conversation
            self.origins[row_id] = _Origin(self.rows_read, item.file, item.line, changed if changes else None, changes)
            changed = None
            if self.side:
                self.by_file[row_id] = self.side
            elif side := side_of_row(item.value):
                self.by_column[row_id] = side

    def own_splits(self) -> dict[str, Side]:
        """The splits that the data itself names, by id; empty when these are no splits of one dataset."""
        return self.by_file or (self.by_column if are_splits(set(self.by_column.values())) else {})

    def account(self, made: Split) -> list[Quarantined]:
        """The quarantine in the order of reading, including rows that would connect two splits and changed rows."""
        shown = self.options.quarantine_characters
        records = dict(self.dropped)
        for row_id in made.bridging:
            origin = self.origins[row_id]
            row = Row(origin.file, origin.line, as_object(self.conversations[row_id]))
            detail = "a near duplicate of published rows in two splits"
            records[origin.position] = drop(row, "bridges_splits", "policy", detail, shown)
        bridging = set(made.bridging)
        for row_id, origin in self.origins.items():
            if origin.changed and row_id not in bridging:
                kind = "policy" if set(origin.changes) <= {"secret_masked", "personal_data_masked"} else "repaired"
                records[origin.position] = change(origin.changed, origin.changes, kind, shown)
        return [records[position] for position in sorted(records)]


def as_object(conversation: Conversation) -> dict[str, Any]:
    """The conversation in the published format; `learn` is false in a turn that is context only, and else left out."""
    return {"messages": _messages(conversation)}


def _messages(turns: Iterable[Message]) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": turn.content, **({} if turn.learn else {"learn": False})} for turn in turns]


def _preference(preference: Preference) -> dict[str, Any]:
    """The pair in the form that preference training reads: three lists of messages."""
    return {name: _messages(getattr(preference, name)) for name in Preference._fields}


def _facts(
    options: CleaningOptions, collection: _Collection, made: Split, quarantine: list[Quarantined]
) -> dict[str, Any]:
    kinds = count_kinds(quarantine)
    return {
        "settings": options.as_json(),
        "rows_read": collection.rows_read,
        "rows": made.counts(),
        "groups": made.groups(),
        "reasons": count_reasons(quarantine),
        "kinds": kinds,
        "broken_share": kinds["broken"] / collection.rows_read if collection.rows_read else 0.0,
        "unused_keys": dict(sorted(collection.unused.items())),
        "context_only_turns": sum(
            not turn.learn for conversation in collection.conversations.values() for turn in conversation
        ),
        "preference_pairs": len(collection.preferences),
        "masked": dict(sorted(collection.masked.items())),
        "near_duplicate_groups": made.near_duplicate_groups(),
        "grouped_near_duplicates": made.grouped_near_duplicates,
        "test_turns_verbatim_in_train": verbatim_share(made.rows),
        "warnings": made.warnings,
    }
