"""Converts raw conversations to a split dataset, with a record of every row that was dropped or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from phi_assets.conversations.cleaning import Cleaned, Cleaner
from phi_assets.conversations.feedback.tombstones import holds
from phi_assets.conversations.formats.preferences import Preference
from phi_assets.conversations.grouping import Assignment, Side
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.own_splits import COLUMN, are_splits, side_of_file, side_of_row
from phi_assets.conversations.pair_places import place_pairs
from phi_assets.conversations.progress import estimated_rows
from phi_assets.conversations.quarantine import Quarantine, Quarantined, change, drop, drop_broken
from phi_assets.conversations.rows import Broken, Conversation, Message, Rejected, Row, SourceError, conversation_id
from phi_assets.conversations.sources.feeds import Piece, Scan, fingerprint, path_stat
from phi_assets.conversations.sources.read_source import read_source
from phi_assets.conversations.splitting import Split, split, verbatim_share
from phi_assets.conversations.spool import Decoded, Spool
from phi_assets.conversations.stored import Origin, StoredConversations

Progress = Callable[[str, int, int], None]
_STEP = 1_000


@dataclass(frozen=True)
class Prepared:
    """A split dataset, its dropped and changed rows, and the facts about both for the manifest."""

    split: Split
    quarantine: Sequence[Quarantined]
    facts: dict[str, Any]
    preferences: Sequence[Mapping[str, Any]] = ()


def prepare(
    scans: Iterable[Scan],
    options: CleaningOptions,
    keep: Assignment,
    progress: Progress = lambda stage, rows, total: None,
    folder: Path | None = None,
    reviewed: Container[str] = (),
    forgotten: frozenset[str] = frozenset(),
) -> Prepared:
    """Read, clean and split the content of the feeds, in their order; rows in `keep` stay in their split.

    The same content under another name is read once. `progress` is called with the stage (`read`, `compared`, `split`),
    a number of rows and about how many there are (0: unknown), every thousand rows and at the end. The rows are in
    temporary files in `folder`, which last as long as the result. The facts name the rows of the feeds `reviewed`, so
    that an answer can be traced to what a person approved. A row with an answer that is `forgotten` (`pair_hash` of
    feedback.tombstones) is left out, and no text of it is recorded. Raises SourceError.
    """
    scans = list(scans)
    collection = _Collection(options, folder, forgotten)
    collection.expected = estimated_rows({piece.sha256: piece for scan in scans for piece in scan.pieces}.values())
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
            collection.reviewed = scan.feed in reviewed
            sources.append({**entry, **_take_all(piece, collection, progress)})
    failed = [source for source in sources if source.get("error")]
    if failed and not collection.rows_read:
        more = f"; {len(failed) - 1} more files can't be read either" if len(failed) > 1 else ""
        raise SourceError(f"{failed[0]['error']}{more}")
    progress("read", collection.rows_read, collection.rows_read)
    own = collection.own_splits() if options.own_splits == "respect" else {}
    made = split(collection.conversations, keep, options, collection.of_one_row, own, folder, progress)
    rows = sum(made.counts().values())
    progress("split", rows, rows)
    collection.record_bridging(made.bridging)
    pairs = place_pairs(Decoded(collection.preferences, orjson.loads), made, options, folder)
    facts = {
        "source": scans[0].feed if scans else "",
        "source_fingerprint": fingerprint(scans, forgotten),
        "sources": sources,
        "skipped": {f"{scan.feed}: {each.name}": each.reason for scan in scans for each in scan.skipped},
        **_facts(options, collection, made),
        "preference_pairs": len(pairs),
        "pairs": pairs.counts(),
        "own_splits": dict(Counter(own.values())),
        "reviewed_rows": collection.of_reviews,
    }
    if own and not collection.by_file:
        facts["unused_keys"].pop(COLUMN, None)
    facts["warnings"] = [*(f"not read, or not to its end: {each['error']}" for each in failed), *made.warnings]
    return Prepared(made, collection.quarantine, facts, pairs)


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
                progress("read", collection.rows_read, collection.expected)
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


class _Collection:
    """The rows read so far: accepted conversations by id, and records of the others by position."""

    def __init__(self, options: CleaningOptions, folder: Path | None, forgotten: frozenset[str]) -> None:
        self.options = options
        self.forgotten = forgotten
        self.conversations = StoredConversations(folder)
        self.quarantine = Quarantine(folder)
        self.preferences = Spool(folder)
        self.side: Side | None = None
        """The split that the file being read belongs to by its name."""
        self.reviewed = False
        """Whether people approved the rows of the file being read."""
        self.of_reviews: list[str] = []
        self.by_file: dict[str, Side] = {}
        self.by_column: dict[str, Side] = {}
        self.of_one_row: list[list[str]] = []
        self.rows_read = self.broken = self.context_only = self.expected = 0
        self.cleaner = Cleaner(options)

    def take(self, item: Row | Broken) -> None:
        self.rows_read += 1
        shown = self.options.quarantine_characters
        if isinstance(item, Broken):
            self.broken += 1
            self.quarantine.put(self.rows_read, drop_broken(item, shown))
            return
        pieces: list[Cleaned] = []
        rejected: Rejected | None = None
        try:
            pieces = self.cleaner.clean(item)
        except Rejected as e:
            rejected = e
        pairs = list(self.cleaner.preferences)
        self.cleaner.preferences.clear()
        if self._took_back(pieces, pairs):
            self.quarantine.put(self.rows_read, drop(Row(item.file, item.line, {}), "forgotten", "policy", "", shown))
            return
        self.preferences.extend(orjson.dumps(_preference(each)) for each in pairs)
        if rejected:
            self.broken += rejected.kind == "broken"
            dropped = drop(item, rejected.reason, rejected.kind, rejected.detail, shown)
            self.quarantine.put(self.rows_read, dropped)
            return
        known = {conversation_id(piece.conversation): piece for piece in pieces}
        new = {row_id: piece for row_id, piece in known.items() if row_id not in self.conversations}
        if not new:
            first = self.conversations.origin(next(iter(known)))
            detail = f"the same as {first.file}, line {first.line}"
            self.quarantine.put(self.rows_read, drop(item, "exact_duplicate", "duplicate", detail, shown))
            return
        if len(new) > 1:
            self.of_one_row.append(list(new))
        for row_id, (conversation, _) in new.items():
            self.conversations.add(row_id, conversation, Origin(self.rows_read, item.file, item.line))
            self.context_only += sum(not turn.learn for turn in conversation)
            if self.reviewed:
                self.of_reviews.append(row_id)
            if self.side:
                self.by_file[row_id] = self.side
            elif side := side_of_row(item.value):
                self.by_column[row_id] = side
        if changes := next(iter(new.values())).changes:
            kind = "policy" if set(changes) <= {"secret_masked", "personal_data_masked"} else "repaired"
            self.quarantine.put(self.rows_read, change(item, changes, kind, shown))

    def _took_back(self, pieces: Iterable[Cleaned], pairs: Iterable[Preference]) -> bool:
        """Whether a row has an answer that somebody took back."""
        if not self.forgotten:
            return False
        texts = [[*pair.prompt, *answer] for pair in pairs for answer in (pair.chosen, pair.rejected)]
        return any(holds(turns, self.forgotten) for turns in (*(piece.conversation for piece in pieces), *texts))

    def own_splits(self) -> dict[str, Side]:
        """The splits that the data itself names, by id; empty when these are no splits of one dataset."""
        return self.by_file or (self.by_column if are_splits(set(self.by_column.values())) else {})

    def record_bridging(self, bridging: Iterable[str]) -> None:
        """Record the rows that would connect two splits."""
        for row_id in bridging:
            origin = self.conversations.origin(row_id)
            row = Row(origin.file, origin.line, as_object(self.conversations[row_id]))
            detail = "a near duplicate of published rows in two splits"
            record = drop(row, "bridges_splits", "policy", detail, self.options.quarantine_characters)
            self.quarantine.put(origin.position, record)


def as_object(conversation: Conversation) -> dict[str, Any]:
    """The conversation in the published format; `learn` is false in a turn that is context only, and else left out."""
    return {"messages": _messages(conversation)}


def _messages(turns: Iterable[Message]) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": turn.content, **({} if turn.learn else {"learn": False})} for turn in turns]


def _preference(preference: Preference) -> dict[str, Any]:
    """The pair in the form that preference training reads: three lists of messages."""
    return {name: _messages(getattr(preference, name)) for name in Preference._fields}


def _facts(options: CleaningOptions, collection: _Collection, made: Split) -> dict[str, Any]:
    kinds = collection.quarantine.kinds()
    return {
        "settings": options.as_json(),
        "rows_read": collection.rows_read,
        "rows": made.counts(),
        "groups": made.groups(),
        "reasons": collection.quarantine.reasons(),
        "kinds": kinds,
        "broken_share": kinds["broken"] / collection.rows_read if collection.rows_read else 0.0,
        "unused_keys": dict(sorted(collection.cleaner.unused.items())),
        "context_only_turns": collection.context_only,
        "masked": dict(sorted(collection.cleaner.masked.items())),
        "near_duplicate_groups": made.near_duplicate_groups(),
        "grouped_near_duplicates": made.grouped_near_duplicates,
        "test_turns_verbatim_in_train": verbatim_share(made.rows),
        "warnings": made.warnings,
    }
