"""Keys and values of the running sequences, in shelves: all rows of a shelf have room for the same number of tokens.

Decoding reads a whole shelf with one attention call, and a long sequence does not make the short ones wider.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

SMALLEST = 256

# Keys and values of one sequence, layer by layer, each (heads, tokens, width).
Layers = list[tuple[torch.Tensor, torch.Tensor]]


def capacity_for(tokens: int, longest: int) -> int:
    """The room of the shelf for so many tokens: a power of two times SMALLEST, at most `longest`."""
    capacity = SMALLEST
    while capacity < tokens:
        capacity *= 2
    return min(capacity, max(longest, SMALLEST))


@dataclass(eq=False)
class Row:
    """One sequence's place: a slot of a shelf. `length` tokens are stored. `owner` is whoever opened it."""

    owner: Any
    shelf: Shelf
    slot: int
    length: int = 0


class Shelf:
    """Rows with room for `capacity` tokens each. The first `decoding` rows get a token in every step."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows: list[Row] = []
        self.decoding = 0
        self._slots = 0
        self._layers: list[tuple[torch.Tensor, torch.Tensor] | None] = []

    def layer(self, index: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of one layer, (slots, heads, capacity, width), made like the given ones at first use."""
        self._layers += [None] * (index + 1 - len(self._layers))
        found = self._layers[index]
        if found is None:
            found = self._layers[index] = (self._room(keys, self._slots), self._room(values, self._slots))
        return found

    def stored(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Every layer that has keys and values."""
        return [layer for layer in self._layers if layer is not None]

    def add(self, row: Row) -> None:
        """Give the row the next slot."""
        row.shelf, row.slot = self, len(self.rows)
        self.rows.append(row)
        if len(self.rows) > self._slots:
            self._resize(len(self.rows) + len(self.rows) // 4)

    def begin_decoding(self, row: Row) -> None:
        """Move the row to the rows that get a token in every step."""
        self._swap(row.slot, self.decoding)
        self.decoding += 1

    def remove(self, row: Row) -> None:
        """Close the gap that the row leaves, and give memory back when a third of the shelf is empty."""
        if row.slot < self.decoding:
            self.decoding -= 1
            self._move(self.decoding, row.slot)
            self._move(len(self.rows) - 1, self.decoding)
        else:
            self._move(len(self.rows) - 1, row.slot)
        self.rows.pop()
        if len(self.rows) * 3 < self._slots * 2:
            self._resize(len(self.rows))

    def read(self, row: Row, tokens: int) -> Layers:
        """The keys and values of the row's first tokens; views, not copies."""
        return [(keys[row.slot, :, :tokens], values[row.slot, :, :tokens]) for keys, values in self.stored()]

    def write(self, row: Row, layers: Layers) -> None:
        """Store the first tokens of the row."""
        for index, (keys, values) in enumerate(layers):
            own_keys, own_values = self.layer(index, keys.unsqueeze(0), values.unsqueeze(0))
            own_keys[row.slot, :, : keys.shape[1]] = keys
            own_values[row.slot, :, : values.shape[1]] = values
            row.length = keys.shape[1]

    def nbytes(self) -> int:
        """The memory that the shelf holds."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.stored())

    def _room(self, like: torch.Tensor, slots: int) -> torch.Tensor:
        # Zeros, because masked attention still reads what lies behind a row's last token, and NaN would survive a mask.
        return like.new_zeros((slots, like.shape[1], self.capacity, like.shape[3]))

    def _resize(self, slots: int) -> None:
        kept = min(slots, self._slots, len(self.rows))
        self._slots = slots
        if not slots:
            self._layers = []
            return
        # One layer at a time, so that no more than one exists twice.
        for index, layer in enumerate(self._layers):
            if layer is not None:
                resized = tuple(self._room(old, slots) for old in layer)
                for old, new in zip(layer, resized, strict=True):
                    new[:kept] = old[:kept]
                self._layers[index] = (resized[0], resized[1])

    def _move(self, source: int, target: int) -> None:
        if source == target:
            return
        row = self.rows[source]
        for tensors in self.stored():
            for tensor in tensors:
                tensor[target, :, : row.length] = tensor[source, :, : row.length]
        row.slot, self.rows[target] = target, row

    def _swap(self, one: int, other: int) -> None:
        if one == other:
            return
        first, second = self.rows[one], self.rows[other]
        aside = [tuple(part.clone() for part in pair) for pair in self.read(first, first.length)]
        self._move(other, one)
        self.rows[other] = first
        first.slot, second.slot = other, one
        self.write(first, [(keys, values) for keys, values in aside])


class KVStore:
    """All shelves of one batch; a sequence moves to a larger one when it outgrows its own."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._shelves: dict[int, Shelf] = {}

    def __iter__(self) -> Iterator[Shelf]:
        return iter(self._shelves.values())

    def open(self, owner: Any, tokens: int) -> Row:
        """An empty row with room for so many tokens."""
        shelf = self._shelf(tokens)
        row = Row(owner, shelf, 0)
        shelf.add(row)
        return row

    def make_room(self, row: Row, tokens: int) -> None:
        """Let the row have room for so many tokens."""
        if tokens <= row.shelf.capacity:
            return
        old, slot, length = row.shelf, row.slot, row.length
        new, decoding = self._shelf(tokens), slot < old.decoding
        new.add(row)
        moved = Row(row.owner, old, slot, length)
        old.rows[slot] = moved
        new.write(row, old.read(moved, length))
        old.remove(moved)
        if decoding:
            new.begin_decoding(row)
        self._drop_empty()

    def close(self, row: Row) -> None:
        """Forget the row."""
        row.shelf.remove(row)
        self._drop_empty()

    def nbytes(self) -> int:
        """The memory that all shelves hold."""
        return sum(shelf.nbytes() for shelf in self)

    def _shelf(self, tokens: int) -> Shelf:
        capacity = capacity_for(tokens, self._longest)
        return self._shelves.setdefault(capacity, Shelf(capacity))

    def _drop_empty(self) -> None:
        self._shelves = {capacity: shelf for capacity, shelf in self._shelves.items() if shelf.rows}
