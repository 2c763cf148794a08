"""Splits into train, validation and test; near duplicates stay together, and a published row keeps its split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

from phi_assets.conversations.grouping import SIDES, Assignment, Groups, Placed, Side, group
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.own_splits import places_of
from phi_assets.conversations.rows import Conversation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEP = 1_000


@dataclass(frozen=True, slots=True)
class SplitRow:
    """A row as it is published."""

    id: str
    group: str
    conversation: Conversation


class SplitRows(Sequence[SplitRow]):
    """The rows of a split; the conversation of each is read when it is asked for."""

    def __init__(self, ids: list[str], groups: list[str], conversations: Mapping[str, Conversation]) -> None:
        self.ids, self.groups, self._conversations = ids, groups, conversations

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> SplitRow: ...
    @overload
    def __getitem__(self, place: slice) -> SplitRows: ...
    def __getitem__(self, place: int | slice) -> SplitRow | SplitRows:
        if isinstance(place, slice):
            return SplitRows(self.ids[place], self.groups[place], self._conversations)
        return SplitRow(self.ids[place], self.groups[place], self._conversations[self.ids[place]])


@dataclass(frozen=True)
class Split:
    """The rows of each split in order of their ids, the ids of rows that would connect two splits, and warnings."""

    rows: Mapping[Side, SplitRows]
    bridging: list[str]
    grouped_near_duplicates: bool
    warnings: list[str]

    def counts(self) -> dict[str, int]:
        """Rows in each split."""
        return {side: len(self.rows[side]) for side in SIDES}

    def groups(self) -> dict[str, int]:
        """Groups in each split."""
        return {side: len(set(self.rows[side].groups)) for side in SIDES}

    def near_duplicate_groups(self) -> int:
        """Groups of more than one row."""
        sizes = Counter(group for side in SIDES for group in self.rows[side].groups)
        return sum(size > 1 for size in sizes.values())


def split(
    conversations: Mapping[str, Conversation],
    keep: Assignment,
    options: CleaningOptions,
    together: Sequence[Sequence[str]] = (),
    own: Mapping[str, Side] | None = None,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, rows, total: None,
) -> Split:
    """The split of the conversations (by id); deterministic for the same ids, `keep` and options.

    `keep` holds the places of the rows published before; ids of one list of `together` are one group.
    `own` holds the splits that the data itself names: these rows stay there, and only a missing split is drawn. When
    grouping near duplicates would leave validation or test with too few rows or groups for a meaningful score, only
    exact duplicates are grouped, and a warning says so. Temporary files are in `folder`. `progress`
    is called with `compared`, a number of rows and all of them, every thousand rows.
    """
    from phi_assets.conversations.near_duplicates import NearDuplicates

    def texts(ids: Sequence[str]) -> Iterator[Conversation]:
        for number, row in enumerate(ids):
            if number and not number % _STEP:
                progress("compared", number, len(ids))
            yield conversations[row]

    def near(ids: Sequence[str]) -> NearDuplicates:
        return NearDuplicates(texts(ids), options.near_duplicate_threshold, options.shingle_words, folder)

    def pairs_in(ids: list[str]) -> Iterator[tuple[str, str]]:
        return ((ids[later], ids[earlier]) for later, earlier in near(ids).pairs())

    ids = sorted(conversations)
    components = joined([[ids[position] for position in found] for found in near(ids).components()], together)
    if own:
        present = set(own.values())
        if not present >= set(SIDES):  # the missing split is drawn from the rows of training
            own = {row: side for row, side in own.items() if side != "train"}
        keep = {**keep, **places_of(own, components, keep)}
        options = replace(
            options,
            validation_share=0.0 if "validation" in present else options.validation_share,
            test_share=0.0 if "test" in present else options.test_share,
        )
    places = fill(group(components, _no_pairs, keep), options)
    if len(components) == len(ids):
        return _split(conversations, places, [], components, options)
    if too_few := _too_few(places, components, options):
        alone = joined([[row] for row in ids], together)
        warning = (
            f"only exact duplicates are grouped: with near duplicates together there would be {too_few}; at least "
            f"{options.minimum_split_rows} rows in {options.minimum_split_groups} groups are needed. Near duplicates "
            "may be in training and test alike, so scores on the test split may be too high."
        )
        made = _split(conversations, fill(group(alone, _no_pairs, keep), options), [], alone, options)
        return replace(made, grouped_near_duplicates=False, warnings=[warning, *made.warnings])
    if not keep:
        return _split(conversations, places, [], components, options)
    groups = group(components, pairs_in, keep)
    return _split(conversations, fill(groups, options), groups.bridging, components, options)


def joined(components: list[list[str]], together: Sequence[Sequence[str]]) -> list[list[str]]:
    """The components, those connected by ids of one list of `together` as one."""
    if not together:
        return components
    place = {row: number for number, component in enumerate(components) for row in component}
    merged: dict[int, list[str]] = dict(enumerate(components))
    for linked in together:
        first, *others = dict.fromkeys(place[row] for row in linked)
        for other in others:
            moved = merged.pop(other)
            merged[first] += moved
            place.update(dict.fromkeys(moved, first))
    return [sorted(component) for component in merged.values()]


def _no_pairs(ids: list[str]) -> Iterator[tuple[str, str]]:
    """No pairs: only the sizes of the splits are computed, for which components need not be taken apart."""
    return iter(())


def verbatim_share(rows: Mapping[Side, Sequence[SplitRow]]) -> float:
    """Share of user and assistant texts in the test split that occur verbatim in training."""
    import numpy as np

    texts = _text_hashes(rows["test"])
    return float(np.isin(texts, _text_hashes(rows["train"]), kind="sort").mean()) if len(texts) else 0.0


def _text_hashes(rows: Sequence[SplitRow]) -> NDArray[np.int64]:
    """A 64-bit hash, of this process only, of each user and assistant text."""
    import numpy as np

    texts = (hash(turn.content) for row in rows for turn in row.conversation if turn.role != "system")
    return np.fromiter(texts, dtype=np.int64)


def _split(
    conversations: Mapping[str, Conversation],
    places: Mapping[str, Placed],
    bridging: list[str],
    components: list[list[str]],
    options: CleaningOptions,
) -> Split:
    ids: dict[Side, list[str]] = {side: [] for side in SIDES}
    for row in sorted(places):
        ids[places[row].side].append(row)
    rows: dict[Side, SplitRows] = {
        side: SplitRows(ids[side], [places[row].group for row in ids[side]], conversations) for side in SIDES
    }
    warnings = []
    if too_few := _too_few(places, components, options):
        warnings.append(f"a small dataset: {too_few}. Scores on so few rows are unreliable; add conversations.")
    mixed = sum(len({places[row].side for row in found if row in places}) > 1 for found in components)
    if mixed:
        warnings.append(
            f"{mixed} groups of near duplicates are in two splits, as published before or as the data itself has them; "
            "scores on them may be too high"
        )
    return Split(rows, sorted(bridging), True, warnings)


def targets(rows: int, options: CleaningOptions) -> dict[Side, int]:
    """Target rows of each split by its share, with at least one row each from three rows on."""
    if rows < 3:
        return {"train": rows, "validation": 0, "test": 0}
    validation = max(1, round(rows * options.validation_share)) if options.validation_share else 0
    test = max(1, round(rows * options.test_share)) if options.test_share else 0
    return {"train": rows - validation - test, "validation": validation, "test": test}


def fill(groups: Groups, options: CleaningOptions) -> dict[str, Placed]:
    """Place the free groups too: in pseudo-random order, each in the split that is furthest below its share.

    Hashing alone would miss the shares by far with a few hundred rows. Groups too large for validation come first, so
    that they go to training while it still has room.
    """
    places = dict(groups.placed)
    wanted = targets(len(places) + sum(map(len, groups.free.values())), options)
    have = Counter[Side](place.side for place in places.values())
    largest = max(1, min((wanted[side] for side in SIDES[1:] if wanted[side]), default=1))

    def drawn(name: str) -> int:
        """A random number, larger for a group that is no larger than the largest."""
        number = int.from_bytes(hashlib.sha256(f"{options.seed}:{name}".encode()).digest()[:8])
        return number + (len(groups.free[name]) <= largest) * 2**64

    for name in sorted(groups.free, key=drawn):
        members = groups.free[name]
        side = _side_for(len(members), have, wanted)
        have[side] += len(members)
        place = Placed(side, name)
        places.update((member, place) for member in members)
    return places


def _side_for(size: int, have: Mapping[Side, int], wanted: Mapping[Side, int]) -> Side:
    fitting: list[Side] = [side for side in SIDES if wanted[side] and have[side] + size <= wanted[side]]
    if fitting:
        return min(fitting, key=lambda side: have[side] / wanted[side])
    room: dict[Side, int] = {side: wanted[side] - have[side] for side in SIDES}
    return max(room, key=lambda side: room[side])


def _too_few(places: Mapping[str, Placed], components: list[list[str]], options: CleaningOptions) -> str:
    """A text that names validation or test if it is too small; empty when both suffice.

    Only groups that are complete in one split count: scores on the others would be affected by leakage.
    """
    shares = {"validation": options.validation_share, "test": options.test_share}
    rows, groups = Counter[str](), Counter[str]()
    for component in components:
        sides = [places[row].side for row in component if row in places]
        if len(set(sides)) == 1:
            rows[sides[0]] += len(sides)
            groups[sides[0]] += 1
    few = [
        side
        for side, share in shares.items()
        if share and (rows[side] < options.minimum_split_rows or groups[side] < options.minimum_split_groups)
    ]
    return " and ".join(f"{rows[side]} rows in {groups[side]} groups for {side}" for side in few)
