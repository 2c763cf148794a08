"""The splits that data comes with, by the names of its files and folders, or by a column `split`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from phi_assets.conversations.grouping import Assignment, Placed, Side

COLUMN = "split"
_NAMES: dict[str, Side] = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation", "eval": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_WORD = re.compile(r"[a-z]+")


def side_of_file(name: str) -> Side | None:
    """The split that a file's name says, or else the nearest of its folders: test of `data/test-00000.parquet`."""
    for part in reversed(PurePosixPath(name.lower()).parts):
        for word in _WORD.findall(part):
            if word in _NAMES:
                return _NAMES[word]
    return None


def side_of_row(row: Mapping[str, Any]) -> Side | None:
    """The split that the row's own column says: train of `train_sft`."""
    value = row.get(COLUMN)
    words = _WORD.findall(value.lower()) if isinstance(value, str) and len(value) < 40 else []
    return next((_NAMES[word] for word in words if word in _NAMES), None)


def are_splits(sides: Collection[Side | None]) -> bool:
    """Whether these are splits of one dataset: training, and something to judge by."""
    return "train" in sides and ("validation" in sides or "test" in sides)


def places_of(own: Mapping[str, Side], components: Collection[list[str]], keep: Assignment) -> dict[str, Placed]:
    """The places of rows (by id) in their own splits; near duplicates within one split are one group.

    The places in `keep` come first: a published row stays where it is.
    """
    places: dict[str, Placed] = {}
    for component in components:
        groups: dict[Side, str] = {keep[row].side: keep[row].group for row in reversed(component) if row in keep}
        for row in component:
            if row in own and row not in keep:
                side = own[row]
                places[row] = Placed(side, groups.setdefault(side, row))
    return places
