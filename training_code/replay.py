"""Replay: conversations on which the model is held to its base, so that new ones do not undo what it knew.

The target of a replayed token is the base model's whole distribution of the next token, not the token: the loss is
KL(base || model), zero at the start (learning without forgetting, arXiv 1606.09282).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import nn
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


def with_replay(own: Dataset, replay: Sequence[Tokens], settings: Settings) -> tuple[Dataset, Mixed]:
    """The rows of `own`, then those of replay, and the order in which epochs go through them."""
    from datasets import concatenate_datasets

    from .data import as_dataset

    replayed = as_dataset(
        replay, packing=settings.packing, packed_length=settings.packed_length, seed=settings.seed, label=held_labels
    )
    each = rows_wanted(tokens_of(own), tokens_of(replayed) / len(replayed), settings.replay_share)
    rows = concatenate_datasets([own, replayed.cast(own.features)])
    return rows, Mixed(len(own), len(replayed), each, settings.seed)


def tokens_of(rows: Dataset) -> int:
    """All tokens of the rows."""
    return sum(len(ids) for ids in rows["input_ids"])


def rows_wanted(own_tokens: int, tokens_per_row: float, share: float) -> int:
    """Rows of replay in an epoch, so that they have `share` of its tokens; at least one."""
    return max(1, round(own_tokens * share / (1 - share) / tokens_per_row))


class Mixed(Sampler[int]):
    """The rows of each epoch in random order: all `own` to be learned, which come first, and `each` of `replay`.

    An epoch goes on in the replay where the last one ended, and begins again after the last row.
    """

    def __init__(self, own: int, replay: int, each: int, seed: int) -> None:
        self.own, self.replay, self.each, self.seed, self.epoch = own, replay, each, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.own + self.each

    def __iter__(self) -> Iterator[int]:
        replayed = random.Random(self.seed).sample(range(self.own, self.own + self.replay), self.replay)
        began = self.epoch * self.each
        rows = [*range(self.own), *(replayed[(began + place) % self.replay] for place in range(self.each))]
        random.Random(f"{self.seed} {self.epoch}").shuffle(rows)
        return iter(rows)


def base_of(model: Any, *, in_bf16: bool = False) -> Callable[[], tuple[Any, AbstractContextManager[Any]]]:
    """A function that returns the base of `model` and a context in which to call it.

    With an adapter the base is the model with its adapter switched off. Otherwise it is a copy, made now, that shares
    the weights that are not trained. With `in_bf16` the copy's matrices are bf16: under autocast they give the same
    results as in fp32, in half the memory.
    """
    if hasattr(model, "disable_adapter"):
        return lambda: (model.get_base_model(), without_adapter(model))
    shared = {id(each): each for each in model.parameters() if not each.requires_grad}
    base = copy.deepcopy(model, shared).eval()
    # trl's forward of this object, which deepcopy has copied, still computes with the weights of the original.
    vars(base).pop("forward", None)
    for each in base.parameters():
        each.requires_grad_(False)
    if in_bf16:
        for each in base.modules():
            if isinstance(each, nn.Linear) and id(each.weight) not in shared:
                each.weight.data = each.weight.data.bfloat16()
    return lambda: (base, nullcontext())


@contextmanager
def without_adapter(model: Any) -> Iterator[None]:
    """Switch the adapter off, and with it what is random in training, such as NEFTune's noise."""
    training = [each for each in model.modules() if each.training]
    model.eval()
    try:
        with model.disable_adapter():
            yield
    finally:
        for each in training:
            each.training = True
