"""Keys and values of earlier prompts and answers, for the next request that begins with the same tokens.

A caller's entries are found by that caller alone: another one could learn from the time of its answer what was asked
before. The cache belongs to one loaded model, so that another model version never reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from serving_code.kv_store import Layers

# Fewer tokens are computed about as fast as they are copied.
SHORTEST = 32


@dataclass(eq=False)
class Prefix:
    """Stored tokens of one caller, with their keys and values."""

    caller: str
    tokens: np.ndarray
    layers: Layers


def as_array(tokens: Sequence[int]) -> np.ndarray:
    """The tokens as an array."""
    return np.asarray(tokens, dtype=np.int64)


def shared(first: np.ndarray, second: np.ndarray) -> int:
    """How many tokens both begin with."""
    length = min(len(first), len(second))
    differ = np.flatnonzero(first[:length] != second[:length])
    return int(differ[0]) if len(differ) else length


class PrefixCache:
    """At most `limit` tokens; the entry that was not used for the longest time goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: list[Prefix] = []
        self.tokens = 0

    def find(self, caller: str, prompt: np.ndarray) -> tuple[int, Prefix | None]:
        """How many tokens of the prompt the best entry of this caller has, and the entry."""
        own = [(shared(entry.tokens, prompt), entry) for entry in self._entries if entry.caller == caller]
        longest, best = max(own, key=lambda each: each[0], default=(0, None))
        return (longest, best) if longest >= SHORTEST else (0, None)

    def used(self, entry: Prefix) -> None:
        """Let the entry go last."""
        if entry in self._entries:
            self._entries.remove(entry)
            self._entries.append(entry)

    def wants(self, caller: str, tokens: np.ndarray) -> bool:
        """Whether the tokens are worth storing: long enough, not too long, and not the beginning of an entry."""
        if not SHORTEST <= len(tokens) <= self._limit:
            return False
        return not any(
            entry.caller == caller and shared(entry.tokens, tokens) == len(tokens) for entry in self._entries
        )

    def add(self, caller: str, tokens: np.ndarray, layers: Layers) -> None:
        """Store copies of the keys and values; an entry that they continue is replaced."""
        for entry in [entry for entry in self._entries if entry.caller == caller]:
            if shared(entry.tokens, tokens) == len(entry.tokens):
                self._remove(entry)
        self.shrink(self._limit - len(tokens))
        self._entries.append(Prefix(caller, tokens, [(keys.clone(), values.clone()) for keys, values in layers]))
        self.tokens += len(tokens)

    def shrink(self, tokens: int) -> None:
        """Remove entries until at most so many tokens are stored."""
        while self._entries and self.tokens > tokens:
            self._remove(self._entries[0])

    def _remove(self, entry: Prefix) -> None:
        self._entries.remove(entry)
        self.tokens -= len(entry.tokens)
