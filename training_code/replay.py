"""Replay: conversations on which the model is held to its base, so that new ones do not undo what it knew.

The target of a replayed token is the base model's whole distribution of the next token, not the token: the loss is
KL(base || model), zero at the start (learning without forgetting, arXiv 1606.09282).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from torch.utils.data import Sampler

from .chat_template import Tokens

if TYPE_CHECKING:
    from datasets import Dataset

    from .settings import Settings

# The label of token i in a replayed turn is HELD - i: apart from ids (from 0) and from what the loss ignores (-100).
HELD = -1_000


def held_labels(row: Tokens) -> list[int]:
    """The labels of a replayed conversation; -100 outside its learned turns and for the first token."""
    labels = [HELD - i if learn else -100 for i, learn in zip(row.ids, row.in_loss, strict=True)]
    return [-100, *labels[1:]]


def packed_length_of(replay_share: float, packed_length: int) -> int:
    """Tokens of a packed row of replay that goes beside one of `packed_length` tokens to be learned."""
    return max(1, round(packed_length * replay_share / (1 - replay_share)))


def with_replay(own: Dataset, replay: Sequence[Tokens], settings: Settings) -> Dataset:
    """The rows of `own`, then the rows of replay, of which one goes beside each row of `own`."""
    from datasets import concatenate_datasets

    from .data import as_dataset

    length = packed_length_of(settings.replay_share, settings.packed_length)
    replayed = as_dataset(replay, replayed=True, packing=settings.packing, packed_length=length, seed=settings.seed)
    return concatenate_datasets([own, replayed.cast(own.features)])


class Alternating(Sampler[int]):
    """The rows of an epoch: each row to be learned, in random order, followed by a row of replay.

    The first `own` of `rows` are to be learned, the others are replay. Each epoch goes on in the replay where the last
    one ended, and begins again after the last row.
    """

    def __init__(self, own: int, rows: int, seed: int) -> None:
        self.own, self.replay, self.seed, self.epoch = own, rows - own, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return 2 * self.own

    def __iter__(self) -> Iterator[int]:
        order = random.Random(f"{self.seed} {self.epoch}").sample(range(self.own), self.own)
        replayed = random.Random(self.seed).sample(range(self.own, self.own + self.replay), self.replay)
        for place, row in enumerate(order):
            yield row
            yield replayed[(self.epoch * self.own + place) % self.replay]


def base_of(model: Any) -> Callable[[], tuple[Any, AbstractContextManager[Any]]]:
    """A function that returns the base of `model` and a context in which to call it.

    With an adapter the base is the model with its adapter switched off. Otherwise it is a copy, made now, that shares
    the weights that are not trained.
    """
    if hasattr(model, "disable_adapter"):
        return lambda: (model.get_base_model(), model.disable_adapter())
    shared = {id(each): each for each in model.parameters() if not each.requires_grad}
    base = copy.deepcopy(model, shared).eval()
    for each in base.parameters():
        each.requires_grad_(False)
    return lambda: (base, nullcontext())
