"""A key-value cache for left-padded rows that are added and removed while others are being decoded."""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers.cache_utils import Cache, DynamicLayer

GROWTH = 128


class GrowingLayer(DynamicLayer):
    """One layer's keys and values, (rows, heads, tokens, width), with spare capacity at the end.

    transformers' own layer copies everything for each new token; this one copies once every GROWTH tokens.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._key_room: torch.Tensor | None = None
        self._value_room: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new tokens and return all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._key_room is None or self._value_room is None or end > self._key_room.shape[-2]:
            self._key_room = _with_room(self.keys, key_states, start, end + GROWTH)
            self._value_room = _with_room(self.values, value_states, start, end + GROWTH)
        self._key_room[:, :, start:end] = key_states
        self._value_room[:, :, start:end] = value_states
        self.keys = self._key_room[:, :, :end]
        self.values = self._value_room[:, :, :end]
        return self.keys, self.values

    def replace(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Replace the contents; the next token allocates new capacity."""
        self.keys, self.values = keys, values
        self._key_room = self._value_room = None
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True


def _with_room(old: torch.Tensor | None, like: torch.Tensor, length: int, capacity: int) -> torch.Tensor:
    rows, heads, _, width = like.shape
    room = like.new_empty((rows, heads, capacity, width))
    if old is not None and length:
        room[:, :, :length] = old
    return room


def new_cache() -> Cache:
    """An empty cache; each layer appears with its first token."""
    return Cache(layer_class_to_replicate=GrowingLayer)


def keep_rows(cache: Cache, rows: list[int], first: int) -> None:
    """Remove all other rows, and the first `first` positions."""
    for layer in layers(cache):
        index = torch.tensor(rows, device=layer.device)
        layer.replace(layer.keys[index, :, first:], layer.values[index, :, first:])


def append_rows(cache: Cache, newcomer: Cache) -> None:
    """Append the newcomer's rows; the shorter of the two caches is padded on the left."""
    for ours, theirs in zip(layers(cache), layers(newcomer), strict=True):
        ours.replace(join_left_padded(ours.keys, theirs.keys, 2), join_left_padded(ours.values, theirs.values, 2))


def layers(cache: Cache) -> list[GrowingLayer]:
    """The layers of a cache that `new_cache` made."""
    return cast(list[GrowingLayer], cache.layers)


def join_left_padded(first: torch.Tensor, second: torch.Tensor, dim: int) -> torch.Tensor:
    """The rows of both tensors, the shorter one padded on the left with zeros along `dim`."""
    length = max(first.shape[dim], second.shape[dim])
    shape = [first.shape[0] + second.shape[0], *first.shape[1:]]
    shape[dim] = length
    joined = first.new_zeros(shape)
    joined[: first.shape[0]].narrow(dim, length - first.shape[dim], first.shape[dim]).copy_(first)
    joined[first.shape[0] :].narrow(dim, length - second.shape[dim], second.shape[dim]).copy_(second)
    return joined
