"""Finds near-duplicate conversations: MinHash gives candidates, exact Jaccard similarity decides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from phi_assets.conversations.rows import Conversation
from phi_assets.conversations.words import WORD

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERMUTATIONS = 128
_RECALL = 0.9999
_MAX_INDEXED = 200
_MAX_COMPARED = 200
"""Maximum exact comparisons of one row with rows of other groups, most similar first. Without the limit, many rows of
one template just below the threshold would all be compared with each other."""
_WORD = re.compile(WORD)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: its powers weight the words of a shingle


@lru_cache(maxsize=1 << 19)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def shingles(conversation: Conversation, words: int) -> NDArray[np.uint64]:
    """Sorted unique 64-bit hashes of every run of `words` words in the user and assistant turns.

    System messages are excluded: a common one would make all conversations similar. A shorter text is one shingle.
    Characters of Chinese, Japanese, Korean and Thai count as words.
    """
    text = " ".join(content for role, content in conversation if role != "system").casefold()
    hashes = np.array([_word_hash(word) for word in _WORD.findall(text)], dtype=np.uint64)
    size = max(1, min(words, len(hashes)))
    total = np.zeros(max(0, len(hashes) - size + 1), dtype=np.uint64)
    for offset in range(size):
        total = total * _MIX + hashes[offset : len(hashes) - size + 1 + offset]
    return np.unique(total)


def jaccard(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> float:
    """Size of the intersection over size of the union; for two empty sets it is 1."""
    shared = len(np.intersect1d(left, right, assume_unique=True))
    union = len(left) + len(right) - shared
    return shared / union if union else 1.0


def bands(threshold: float) -> tuple[int, int]:
    """Number of bands and of rows per band that make a pair at the threshold a candidate with probability 99.99%.

    A pair of similarity s shares a band of r rows with probability s**r, so one of b bands with 1 - (1 - s**r)**b
    (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, section 3.4).
    """
    for rows in range(_PERMUTATIONS // 2, 0, -1):
        count = _PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** count >= _RECALL:
            return count, rows
    return _PERMUTATIONS, 1


class NearDuplicates:
    """Finds near duplicates among conversations: Jaccard similarity of shingles at least `threshold`.

    MinHash misses one pair in ten thousand at the threshold, and fewer above it.
    """

    def __init__(self, conversations: Sequence[Conversation], threshold: float, words: int) -> None:
        self._conversations = conversations
        self._threshold = threshold
        self._words = words
        # A row is mostly compared with recent rows; all shingles together would need more memory than the text.
        self._shingles = lru_cache(maxsize=4096)(self._shingles_of)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every near-duplicate pair of positions, the later one first."""
        for position, found in self._candidates():
            for other in sorted(found):
                if self._is_near_duplicate(position, other):
                    yield position, other

    def components(self) -> list[list[int]]:
        """Connected components of the near-duplicate graph, as sorted lists of positions."""
        parent = list(range(len(self._conversations)))

        def root(position: int) -> int:
            while parent[position] != position:
                parent[position] = parent[parent[position]]
                position = parent[position]
            return position

        for position, found in self._candidates(lambda row, others: sum(root(other) == root(row) for other in others)):
            compared = 0
            for other in found:
                if root(other) != root(position) and compared < _MAX_COMPARED:
                    compared += 1
                    if self._is_near_duplicate(position, other):
                        parent[max(root(position), root(other))] = min(root(position), root(other))
        groups: dict[int, list[int]] = {}
        for position in range(len(parent)):
            groups.setdefault(root(position), []).append(position)
        return list(groups.values())

    def _candidates(
        self, known: Callable[[int, list[int]], int] = lambda row, others: 0
    ) -> Iterator[tuple[int, list[int]]]:
        """Each position with its earlier candidates, most similar first.

        `known` is called after the candidates were compared, and returns how many of them are in the position's group.
        If many are, the position isn't indexed: later rows find those instead, so many similar rows stay fast.
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
                similarity = (signatures[near] == signatures[position]).mean(axis=1)
                near = near[np.argsort(-similarity, kind="stable")][: int((similarity >= lowest).sum())]
            found = near.tolist()
            yield position, found
            if known(position, found) < _MAX_INDEXED:
                index.insert(position, sketch, check_duplication=False)

    def _is_near_duplicate(self, left: int, right: int) -> bool:
        return jaccard(self._shingles(left), self._shingles(right)) >= self._threshold

    def _shingles_of(self, position: int) -> NDArray[np.uint64]:
        return shingles(self._conversations[position], self._words)
