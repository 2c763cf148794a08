"""Conversations that say nearly the same: MinHash finds candidates, exact Jaccard similarity decides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from phi_assets.conversations.rows import Conversation

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERMUTATIONS = 128
_RECALL = 0.9999
_MOST_INDEXED = 200
_MOST_COMPARED = 200
"""Exact comparisons for one row with rows of other groups, likeliest first: many rows on one template, each just below
the threshold, would otherwise be compared with each other one by one."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: neighbouring words are weighed by its powers


@lru_cache(maxsize=1 << 19)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def shingles(conversation: Conversation, words: int) -> NDArray[np.uint64]:
    """Sorted 64-bit hashes of every run of `words` words that users and assistant say, each once.

    System messages are left out: a common one would make all conversations alike. A shorter text is one shingle.
    Characters of Chinese, Japanese and Korean count as words.
    """
    said = " ".join(content for role, content in conversation if role != "system").casefold()
    hashes = np.array([_word_hash(word) for word in _WORD.findall(said)], dtype=np.uint64)
    size = max(1, min(words, len(hashes)))
    total = np.zeros(max(0, len(hashes) - size + 1), dtype=np.uint64)
    for offset in range(size):
        total = total * _MIX + hashes[offset : len(hashes) - size + 1 + offset]
    return np.unique(total)


def jaccard(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> float:
    """Size of the intersection over size of the union; two empty sets are alike."""
    shared = len(np.intersect1d(left, right, assume_unique=True))
    union = len(left) + len(right) - shared
    return shared / union if union else 1.0


def bands(threshold: float) -> tuple[int, int]:
    """Numbers of bands and of rows in each with which a pair at the threshold becomes a candidate with 99.99% chance.

    A pair of similarity s shares a band of r rows with chance s**r, so one of b bands with 1 - (1 - s**r)**b
    (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4).
    """
    for rows in range(_PERMUTATIONS // 2, 0, -1):
        count = _PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** count >= _RECALL:
            return count, rows
    return _PERMUTATIONS, 1


class NearDuplicates:
    """Finds which of some conversations are near duplicates: Jaccard similarity of shingles at least `threshold`.

    MinHash misses one pair in ten thousand at the threshold, and fewer above it.
    """

    def __init__(self, conversations: Sequence[Conversation], threshold: float, words: int) -> None:
        self._conversations = conversations
        self._threshold = threshold
        self._words = words
        # A row is mostly compared with rows met lately; all shingles at once would take more memory than the text.
        self._shingles = lru_cache(maxsize=4096)(self._shingles_of)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every pair of positions, the later one first."""
        for position, found in self._candidates():
            for other in sorted(found):
                if self._alike(position, other):
                    yield position, other

    def components(self) -> list[list[int]]:
        """Positions by group, each sorted: two are in one group when a chain of near duplicates leads between them."""
        parent = list(range(len(self._conversations)))

        def root(position: int) -> int:
            while parent[position] != position:
                parent[position] = parent[parent[position]]
                position = parent[position]
            return position

        for position, found in self._candidates(lambda row, others: sum(root(other) == root(row) for other in others)):
            compared = 0
            for other in found:
                if root(other) != root(position) and compared < _MOST_COMPARED:
                    compared += 1
                    if self._alike(position, other):
                        parent[max(root(position), root(other))] = min(root(position), root(other))
        groups: dict[int, list[int]] = {}
        for position in range(len(parent)):
            groups.setdefault(root(position), []).append(position)
        return list(groups.values())

    def _candidates(
        self, known: Callable[[int, list[int]], int] = lambda row, others: 0
    ) -> Iterator[tuple[int, list[int]]]:
        """Each position with the earlier ones that it may be like, the most likely first.

        `known`, asked after the pairs were looked at, tells how many of the candidates turned out to be of its group.
        With many, it isn't indexed: the next of its kind will find those, and ten thousand alike don't take forever.
        """
        from datasketch import MinHash, MinHashLSH

        index = MinHashLSH(num_perm=_PERMUTATIONS, params=bands(self._threshold))
        empty = MinHash(num_perm=_PERMUTATIONS, hashfunc=int)
        signatures = np.empty((len(self._conversations), _PERMUTATIONS), dtype=np.uint32)
        lowest = (
            self._threshold - 5 * (self._threshold * (1 - self._threshold) / _PERMUTATIONS) ** 0.5
        )  # 5 standard errors
        for position in range(len(self._conversations)):
            sketch = empty.copy()
            sketch.update_batch((self._shingles(position) >> np.uint64(32)).tolist())
            signatures[position] = sketch.hashvalues
            near = np.sort(np.array(index.query(sketch), dtype=np.int64))
            if len(near):
                likeness = (signatures[near] == signatures[position]).mean(axis=1)
                near = near[np.argsort(-likeness, kind="stable")][: int((likeness >= lowest).sum())]
            found = near.tolist()
            yield position, found
            if known(position, found) < _MOST_INDEXED:
                index.insert(position, sketch, check_duplication=False)

    def _alike(self, left: int, right: int) -> bool:
        return jaccard(self._shingles(left), self._shingles(right)) >= self._threshold

    def _shingles_of(self, position: int) -> NDArray[np.uint64]:
        return shingles(self._conversations[position], self._words)
