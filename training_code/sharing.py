"""Shares the rows of each optimizer step among ranks, so that a step learns from the same rows however many there are.

Where the rows of a step do not divide evenly, blank rows fill the gap: they have no token in the loss, which is
divided by the tokens of all ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import Sampler

from . import ranks
from .data import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset

    from .pipes import Reporter
    from .replay import Mixed
    from .settings import Settings

BLANK_TOKENS = 2  # the first of a row has no label


class Shared(Sampler[int]):
    """The rows of `order`, and after each `step` of them as many `blank` ones as make a multiple of `at_once`."""

    def __init__(self, order: Mixed, step: int, at_once: int, blank: int) -> None:
        self.order, self.step, self.at_once, self.blank = order, step, at_once, blank

    def set_epoch(self, epoch: int) -> None:
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.order), self.step)
        return (whole * math.ceil(self.step / self.at_once) + math.ceil(rest / self.at_once)) * self.at_once

    def __iter__(self) -> Iterator[int]:
        rows = list(self.order)
        for start in range(0, len(rows), self.step):
            some = rows[start : start + self.step]
            yield from some
            yield from [self.blank] * (-len(some) % self.at_once)


def shared(settings: Settings, rows: Dataset, order: Mixed, log: Reporter) -> tuple[Settings, Dataset, Shared]:
    """The settings with batches that all ranks can have, the rows with a blank one, and their order."""
    count, in_step = ranks.count(), settings.batch_size * settings.accumulation
    most = max(1, min(settings.batch_size, in_step // count))
    batch_size = next(size for size in range(most, 0, -1) if in_step % size == 0)
    accumulation = in_step // batch_size
    idle = -accumulation % count
    if idle:
        log.warning(
            f"a step has {in_step} rows, which do not divide evenly among {count} processes: in each step {idle} of "
            "them wait for the others"
        )
    settings = settings.model_copy(update={"batch_size": batch_size, "accumulation": accumulation})
    sampler = Shared(order, in_step, batch_size * count, len(rows))
    return settings, with_blanks(rows, len(rows) + 1), sampler


def with_blanks(rows: Dataset, multiple: int) -> Dataset:
    """The rows, and behind them as many blank ones as make a multiple."""
    from datasets import Dataset, concatenate_datasets

    missing = -len(rows) % multiple
    if not missing:
        return rows
    blank: dict[str, Any] = {
        "input_ids": [0] * BLANK_TOKENS,
        "labels": [IGNORED] * BLANK_TOKENS,
        "seq_lengths": [BLANK_TOKENS],
    }
    return concatenate_datasets([rows, Dataset.from_list([blank] * missing, features=rows.features)])
