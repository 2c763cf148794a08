"""Places preference pairs in the splits: a pair is on the side of the conversations that share its prompt or its words.

A pair in validation or test is held out: it measures preference training and is not learned. Unlike a row's, the place
of a pair is drawn again at each publication: nothing but a run's own report is measured with it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from phi_assets.conversations.grouping import SIDES, Groups, Placed, Side
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.rows import ID_LENGTH, Conversation, Message, normalised
from phi_assets.conversations.splitting import Split, fill, joined

HELD_OUT: tuple[Side, ...] = ("test", "validation")
ORDER: tuple[Side, ...] = (*HELD_OUT, "train")
Pair = Mapping[str, Any]


@dataclass(frozen=True)
class PlacedPairs(Sequence[dict[str, Any]]):
    """Each different pair once, in order of its id, with `id` and `split`; read when it is asked for."""

    pairs: Sequence[Pair]
    order: list[tuple[str, int, Side]]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return PlacedPairs(self.pairs, self.order[place])
        row_id, number, side = self.order[place]
        return {"id": row_id, "split": side, **self.pairs[number]}

    def counts(self) -> dict[str, int]:
        """Pairs in each split."""
        found = Counter(side for _, _, side in self.order)
        return {side: found[side] for side in SIDES}


def place_pairs(
    pairs: Sequence[Pair], made: Split, options: CleaningOptions, folder: Path | None = None
) -> PlacedPairs:
    """Place the pairs among the rows of a split; deterministic for the same pairs, rows and options.

    Pairs with one prompt stay together, and with a near duplicate where the split's rows do. A pair joins the test
    split or validation if a row there has its prompt or is a near duplicate, else training if a row there has its
    prompt; the others are drawn by the splits' shares.
    """
    first: dict[str, int] = {}
    for number, pair in enumerate(pairs):
        first.setdefault(_id_of(pair), number)
    if not first:
        return PlacedPairs(pairs, [])
    ids = sorted(first)
    prompts = {each: prompt_key(pairs[first[each]]["prompt"]) for each in ids}
    opened = {side: {key for row in made.rows[side] for key in prompt_keys(row.conversation)} for side in SIDES}
    near: dict[str, set[Side]] = {each: {side for side in SIDES if prompts[each] in opened[side]} for each in ids}
    components = [[each] for each in ids]
    if made.grouped_near_duplicates:
        components = _components(ids, [pairs[first[each]] for each in ids], made, options, near, folder)
    groups = Groups({}, {}, [])
    for members in joined(components, _same(prompts)):
        sides: set[Side] = {side for each in members for side in near[each]}
        side: Side | None = next((each for each in ORDER if each in sides), None)
        if side:
            groups.placed.update((each, Placed(side, members[0])) for each in members)
        else:
            groups.free[members[0]] = members
    places = fill(groups, options)
    return PlacedPairs(pairs, [(each, first[each], places[each].side) for each in ids])


def _components(
    ids: list[str],
    pairs: Sequence[Pair],
    made: Split,
    options: CleaningOptions,
    near: dict[str, set[Side]],
    folder: Path | None,
) -> list[list[str]]:
    """Groups of pairs that are near duplicates; adds to `near` the sides of the held-out rows among them."""
    from phi_assets.conversations.near_duplicates import NearDuplicates

    held: list[Side] = [side for side in HELD_OUT for _ in made.rows[side].ids]

    def texts() -> Iterator[Conversation]:
        for side in HELD_OUT:
            yield from (row.conversation for row in made.rows[side])
        for pair in pairs:
            yield tuple(Message(each["role"], each["content"]) for each in (*pair["prompt"], *pair["chosen"]))

    components = []
    for found in NearDuplicates(texts(), options.near_duplicate_threshold, options.shingle_words, folder).components():
        members = [ids[position - len(held)] for position in found if position >= len(held)]
        for each in members:
            near[each] |= {held[position] for position in found if position < len(held)}
        if members:
            components.append(members)
    return components


def prompt_key(turns: Iterable[Mapping[str, Any]]) -> str:
    """A hash of the turns of user and assistant, normalised: equal for prompts that ask the same."""
    return [key for _, key in _keys((each["role"], each["content"]) for each in turns)][-1]


def prompt_keys(conversation: Iterable[tuple[str, str]]) -> Iterator[str]:
    """`prompt_key` of every prompt in a conversation: its turns up to each of the user's."""
    return (key for role, key in _keys(conversation) if role == "user")


def _keys(turns: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The role of each turn but the system's, with a hash of the turns up to it."""
    digest = hashlib.sha256()
    for role, content in turns:
        if role != "system":
            digest.update(orjson.dumps([role, normalised(content)]))
            yield role, digest.hexdigest()[: 2 * ID_LENGTH]


def _id_of(pair: Pair) -> str:
    canonical = [
        [[each["role"], normalised(each["content"])] for each in pair[name]]
        for name in ("prompt", "chosen", "rejected")
    ]
    return hashlib.sha256(orjson.dumps(canonical)).hexdigest()[:ID_LENGTH]


def _same(prompts: Mapping[str, str]) -> list[list[str]]:
    """The ids that share a prompt."""
    found: dict[str, list[str]] = {}
    for each, prompt in prompts.items():
        found.setdefault(prompt, []).append(each)
    return [members for members in found.values() if len(members) > 1]
