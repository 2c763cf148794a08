"""Finds near-duplicate conversations: MinHash gives candidates, exact Jaccard similarity decides.

Arrays and a file hold everything: about 150 bytes of memory a conversation, whatever its length.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phi_assets.conversations.rows import Conversation
from phi_assets.conversations.spool import Spool
from phi_assets.conversations.words import WORD

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERMUTATIONS = 128
_RECALL = 0.9999
_BATCH = 1_024
"""Conversations whose signatures are computed at a time."""
_CHUNK = 2_048
"""Pairs that are compared exactly at a time."""
_WHOLE_BUCKET = 256
"""Of so many rows that share a band, all pairs are candidates."""
_WINDOW = 64
"""In a larger bucket a row is paired with so many neighbours on each side, in the order of the next band, in which
similar rows are likely to be neighbours. Without this limit, many rows of one template would all be compared."""
_MAX_FOUND = 256
"""Near duplicates of one row among earlier ones that are looked for, when each pair counts."""
_MAX_FAILED = 64
"""Exact comparisons of one row with earlier ones that may be below the threshold, when its component counts."""
_MAX_WORDS, _LONG_WORD = 1 << 19, 64
_WORD = re.compile(WORD)
_ASCII_WORDS = bytes(code if re.match(WORD, chr(code)) else ord(" ") for code in range(128)).ljust(256)
"""Maps ASCII characters that are in no word to spaces."""
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: its powers weight the words of a shingle


class _WordHashes(dict[bytes, int]):
    """64-bit hashes of words in UTF-8; keeps none of a long word, and forgets all when it has too many."""

    def __missing__(self, word: bytes) -> int:
        made = int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")
        if len(word) <= _LONG_WORD:
            if len(self) >= _MAX_WORDS:
                self.clear()
            self[word] = made
        return made


_hash_of = _WordHashes().__getitem__


def _words_of(text: str) -> list[bytes]:
    """The words of a text in UTF-8; of one in ASCII without a regular expression, several times faster."""
    if text.isascii():
        return text.encode().translate(_ASCII_WORDS).split()
    return [word.encode() for word in _WORD.findall(text)]


def _constants(name: str) -> NDArray[np.uint64]:
    """A fixed random number for each permutation, the same on every machine."""
    digests = (hashlib.blake2b(f"{name}{number}".encode(), digest_size=8) for number in range(_PERMUTATIONS))
    return np.array([int.from_bytes(each.digest(), "little") for each in digests], dtype=np.uint64)


_FACTORS = _constants("factor") | np.uint64(1)
_TERMS = _constants("term")


def shingles(conversation: Conversation, words: int) -> NDArray[np.uint64]:
    """Sorted unique 64-bit hashes of every run of `words` words in the user and assistant turns.

    System messages are excluded: a common one would make all conversations similar. A shorter text is one shingle.
    Characters of Chinese, Japanese, Korean and Thai count as words.
    """
    text = " ".join([content for role, content in conversation if role != "system"]).casefold()
    found = _words_of(text)
    hashes = np.fromiter(map(_hash_of, found), dtype=np.uint64, count=len(found))
    size = max(1, min(words, len(hashes)))
    total = np.zeros(max(0, len(hashes) - size + 1), dtype=np.uint64)
    for offset in range(size):
        total = total * _MIX + hashes[offset : len(hashes) - size + 1 + offset]
    total.sort()
    return total[np.diff(total, prepend=~total[:1]) != 0]


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

    MinHash misses one pair in ten thousand at the threshold, and fewer above it; among more than 256 rows that are
    about as similar to each other as the threshold says, more. `folder` is where temporary files are.
    """

    def __init__(
        self, conversations: Iterable[Conversation], threshold: float, words: int, folder: Path | None = None
    ) -> None:
        self._threshold = threshold
        # Four standard errors of the estimate: one pair in 30,000 at the threshold is below.
        self._lowest = threshold - 4 * (threshold * (1 - threshold) / _PERMUTATIONS) ** 0.5
        self._count, self._rows = bands(threshold)
        self._sets = Spool(folder)
        """The sorted shingles of each row, the upper 32 bits of each."""
        self._keys = Spool(folder)
        """For each batch of rows, one record a band: a 64-bit hash of each row's part of the signature."""
        low_bits = bytearray()
        batch: list[NDArray[np.uint32]] = []
        for conversation in conversations:
            found = (shingles(conversation, words) >> np.uint64(32)).astype(np.uint32)
            batch.append(found if len(found) else np.zeros(1, dtype=np.uint32))
            if len(batch) == _BATCH:
                low_bits += self._take(batch)
                batch = []
        if batch:
            low_bits += self._take(batch)
        self._low_bits = np.frombuffer(low_bits, dtype=np.uint8).reshape(-1, _PERMUTATIONS)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every near-duplicate pair of positions, the later one first."""
        search = _Search(len(self._sets), _MAX_FOUND)
        for candidates in self._candidates():
            for later, earlier in search.new(candidates):
                compared, similar = self._compare(later, earlier)
                search.compared(later[compared], earlier[compared])
                yield from zip(later[compared][similar].tolist(), earlier[compared][similar].tolist(), strict=True)

    def components(self) -> Iterator[list[int]]:
        """Connected components of the near-duplicate graph, as sorted lists of positions."""
        search = _Search(len(self._sets), _MAX_FAILED)
        parent = np.arange(len(self._sets))

        def apart(later: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.bool_]:
            return _roots(parent, later) != _roots(parent, earlier)

        for candidates in self._candidates():
            for later, earlier in search.new(candidates, apart):
                compared, similar = self._compare(later, earlier)
                search.compared(later[compared][~similar], earlier[compared][~similar])
                for left, right in zip(later[compared][similar], earlier[compared][similar], strict=True):
                    one, other = _root(parent, left), _root(parent, right)
                    parent[max(one, other)] = min(one, other)
        root = _roots(parent, np.arange(len(parent)))
        order = np.argsort(root, kind="stable")
        ends = np.flatnonzero(np.diff(root[order], append=-1)) + 1
        start = 0
        for end in ends.tolist():
            yield order[start:end].tolist()
            start = end

    def _take(self, batch: list[NDArray[np.uint32]]) -> bytes:
        """Keep the sets and the bands of a batch; return the low bits of its signatures."""
        self._sets.extend(found.tobytes() for found in batch)
        signatures = _signatures(batch)
        parts = signatures[:, : self._count * self._rows].reshape(len(batch), self._count, self._rows)
        keys = np.zeros((len(batch), self._count), dtype=np.uint64)
        for place in range(self._rows):
            keys = (keys ^ (keys >> np.uint64(29))) * _MIX + parts[:, :, place]
        self._keys.extend(band.tobytes() for band in keys.T)
        return signatures.astype(np.uint8).tobytes()

    def _band(self, number: int) -> NDArray[np.uint64]:
        records = range(number % self._count, len(self._keys), self._count)
        return np.frombuffer(b"".join([self._keys[record] for record in records]), dtype=np.uint64)

    def _candidates(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Pairs of different positions that share a band, as two arrays."""
        for number in range(self._count):
            keys = self._band(number)
            order = np.lexsort((self._band(number + 1), keys))
            last = np.flatnonzero(np.diff(keys[order], append=~keys[order][-1:])) if len(keys) else order
            sizes = np.diff(last, prepend=-1)
            end, size = (np.repeat(of_bucket, sizes) for of_bucket in (last, sizes))
            begin = np.arange(len(order))
            for distance in range(1, _WHOLE_BUCKET):
                begin = begin[
                    (begin + distance <= end[begin]) & ((distance <= _WINDOW) | (size[begin] <= _WHOLE_BUCKET))
                ]
                if not len(begin):
                    break
                yield order[begin], order[begin + distance]

    def _compare(
        self, later: NDArray[np.int64], earlier: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The places of the pairs that were compared exactly, those that look similar enough; and whether they are."""
        alike = (self._low_bits[later] == self._low_bits[earlier]).mean(axis=1)
        compared = np.flatnonzero(alike >= self._lowest)
        if not len(compared):
            return compared, np.zeros(0, dtype=np.bool_)
        left, left_sizes = self._numbered(later[compared])
        right, right_sizes = self._numbered(earlier[compared])
        found = np.searchsorted(left, right)
        hits = right[left[np.minimum(found, len(left) - 1)] == right] >> np.uint64(32)
        shared = np.bincount(hits.astype(np.int64), minlength=len(compared))
        return compared, shared / (left_sizes + right_sizes - shared) >= self._threshold

    def _numbered(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The shingles of the rows one after another, each below its row's place in `positions`; and their counts."""
        records = [self._sets[position] for position in positions.tolist()]
        sizes = np.array([len(record) // 4 for record in records])
        places = np.repeat(np.arange(len(records), dtype=np.uint64), sizes)
        return (places << np.uint64(32)) | np.frombuffer(b"".join(records), dtype=np.uint32), sizes


class _Search:
    """The pairs that were compared before, of which each of `rows` rows may be the later one in `limit`."""

    def __init__(self, rows: int, limit: int) -> None:
        self._total, self._limit = rows, limit
        self._times = np.zeros(rows, dtype=np.int32)
        self._done: list[NDArray[np.int64]] = []
        """Pairs in sorted arrays, each less than half as long as the one before."""

    def new(
        self,
        candidates: tuple[NDArray[np.int64], NDArray[np.int64]],
        wanted: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]] | None = None,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The candidates still to be compared, later and earlier rows, in chunks; `wanted` is asked for each."""
        later, earlier = np.maximum(*candidates), np.minimum(*candidates)
        for start in range(0, len(later), _CHUNK):
            left, right = later[start : start + _CHUNK], earlier[start : start + _CHUNK]
            keep = np.flatnonzero(self._times[left] < self._limit)
            if wanted:
                keep = keep[wanted(left[keep], right[keep])]
            keep = keep[self._is_new(left[keep], right[keep])]
            if len(keep):
                yield left[keep], right[keep]

    def compared(self, later: NDArray[np.int64], earlier: NDArray[np.int64]) -> None:
        """Remember that these pairs need not be compared again."""
        np.add.at(self._times, later, 1)
        self._done.append(np.sort(later * self._total + earlier))
        while len(self._done) > 1 and 2 * len(self._done[-1]) >= len(self._done[-2]):
            self._done[-2:] = [np.sort(np.concatenate(self._done[-2:]))]

    def _is_new(self, later: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.bool_]:
        names = later * self._total + earlier
        new = np.ones(len(names), dtype=np.bool_)
        for done in self._done:
            if len(done):
                new &= done[np.minimum(np.searchsorted(done, names), len(done) - 1)] != names
        return new


def _signatures(batch: list[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    """The MinHash signatures of sets that are not empty: for each permutation the least (factor * x + term) >> 32.

    Multiply-shift hashing is strongly universal (Dietzfelbinger, STACS 1996).
    """
    values = np.concatenate(batch).astype(np.uint64)
    starts = np.cumsum([0, *map(len, batch[:-1])])
    made = np.empty((len(batch), _PERMUTATIONS), dtype=np.uint32)
    hashed = np.empty_like(values)
    for number, (factor, term) in enumerate(zip(_FACTORS, _TERMS, strict=True)):
        np.multiply(values, factor, out=hashed)
        np.add(hashed, term, out=hashed)
        made[:, number] = np.minimum.reduceat(hashed, starts) >> np.uint64(32)
    return made


def _roots(parent: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The roots of the positions, whose paths are shortened."""
    root = parent[positions]
    while (parent[root] != root).any():
        root = parent[root]
    parent[positions] = root
    return root


def _root(parent: NDArray[np.int64], position: int) -> int:
    while parent[position] != position:
        parent[position] = parent[parent[position]]
        position = parent[position]
    return position
