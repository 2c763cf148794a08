"""Groups of near duplicates around the rows that are already published."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


class Placed(NamedTuple):
    """The split that a published row is in, and its group."""

    side: Side
    group: str


Assignment = Mapping[str, Placed]
"""Row ids with the places in which they were published; these never change."""


class Groups(NamedTuple):
    """`placed` rows belong to a published split, `free` groups may go to any split, `bridging` rows to none."""

    placed: dict[str, Placed]
    free: dict[str, list[str]]
    bridging: list[str]


def group(
    components: Iterable[list[str]], pairs_in: Callable[[list[str]], Iterable[tuple[str, str]]], keep: Assignment
) -> Groups:
    """Groups from components of rows that are connected by near duplicates, and the places published before.

    Published rows keep their place, and the new rows of their component join them. New rows may connect published rows
    of two splits; then `pairs_in` returns the near-duplicate pairs of the component: a new row next to rows of one
    split joins it, and one next to rows of two splits is bridging and connects nothing. A group of only new rows is
    named by its smallest id.
    """
    named = {place.group: place for place in keep.values()}
    groups = Groups({}, {}, [])
    for component in components:
        members = component if len(component) == 1 else sorted(component)
        # A row whose id names a group belongs to that group, even when its own place is no longer recorded.
        placed = {row: keep.get(row) or named[row] for row in members if row in keep or row in named}
        sides = {place.side for place in placed.values()}
        if not placed:
            groups.free[members[0]] = members
        elif len(sides) == 1:
            first = next(iter(placed.values()))
            groups.placed.update({row: placed.get(row, first) for row in members})
        else:
            _take_apart(members, placed, pairs_in(members), groups)
    return groups


def _take_apart(members: list[str], placed: dict[str, Placed], pairs: Iterable[tuple[str, str]], into: Groups) -> None:
    neighbours: dict[str, set[str]] = defaultdict(set)
    for left, right in pairs:
        neighbours[left].add(right)
        neighbours[right].add(left)
    bridging = _spread(placed, neighbours)
    seen = {*placed, *bridging}
    into.placed.update(placed)
    into.bridging.extend(bridging)
    for row in members:
        if row not in seen:
            cut_off = _reach(row, neighbours, seen)
            into.free[min(cut_off)] = sorted(cut_off)


def _spread(placed: dict[str, Placed], neighbours: Mapping[str, set[str]]) -> list[str]:
    """Place the rows reachable from `placed` ones, breadth first; return the rows that are next to two splits."""
    bridging: list[str] = []
    decided = set(placed)
    edge = set(placed)
    while edge:
        reached = sorted({near for row in edge for near in neighbours.get(row, ())} - decided)
        edge = set()
        for row in reached:
            around = sorted(near for near in neighbours[row] if near in placed)
            if len({placed[near].side for near in around}) > 1:
                bridging.append(row)
            elif around:
                placed[row] = placed[around[0]]
                edge.add(row)
            decided.add(row)
    return bridging


def _reach(start: str, neighbours: Mapping[str, set[str]], seen: set[str]) -> list[str]:
    members, waiting = [], deque([start])
    seen.add(start)
    while waiting:
        row = waiting.popleft()
        members.append(row)
        for near in neighbours.get(row, ()):
            if near not in seen:
                seen.add(near)
                waiting.append(near)
    return members
