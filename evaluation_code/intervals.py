"""95% intervals of shares and differences."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054  # 97.5% quantile of the standard normal distribution
DRAWS = 2_000


@dataclass(frozen=True)
class Share:
    """A share with its 95% bounds; all three are None when nothing was counted."""

    right: int
    count: int
    share: float | None
    lower: float | None
    upper: float | None


def wilson(right: int, count: int) -> Share:
    """The Wilson score interval of a share (E. B. Wilson, JASA 22, 1927, p. 209), without continuity correction."""
    if count == 0:
        return Share(0, 0, None, None, None)
    share, spread = right / count, Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # With none or all right the exact bound is 0 or 1; rounding can miss it by 1e-17.
    lower = 0.0 if right == 0 else centre - half
    upper = 1.0 if right == count else centre + half
    return Share(right, count, share, lower, upper)


@dataclass(frozen=True)
class Difference:
    """A mean difference in bits per byte with its 95% bounds; negative is better. None when it cannot be computed."""

    difference: float | None
    lower: float | None
    upper: float | None
    rows: int
    groups: int
    draws: int


def paired_difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    sizes: Sequence[int],
    groups: Sequence[Hashable],
    *,
    seed: int,
    draws: int = DRAWS,
) -> Difference:
    """Bits per byte of ours minus theirs on the same rows, with a percentile bootstrap that draws whole groups.

    `ours` and `theirs` are bits a row, `sizes` bytes a row. Rows of one group are near duplicates, so they are not
    independent evidence: the groups are drawn with replacement, and each draw's bits are divided by its own bytes.
    """
    names = list(dict.fromkeys(groups))
    difference = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    if not names or not np.isfinite(difference).all():
        return Difference(None, None, None, len(sizes), len(names), 0)
    place = {name: number for number, name in enumerate(names)}
    index = [place[name] for name in groups]
    bits = np.bincount(index, weights=difference, minlength=len(names))
    bytes_ = np.bincount(index, weights=np.asarray(sizes, dtype=float), minlength=len(names))
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    lower, upper = np.quantile(counts @ bits / (counts @ bytes_), [0.025, 0.975])
    mean = bits.sum() / bytes_.sum()
    return Difference(float(mean), float(lower), float(upper), len(sizes), len(names), draws)
