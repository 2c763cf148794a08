"""Replay: conversations on which the model is held to its base, so that new ones do not undo what it knew.

The target of a replayed token is the base model's whole distribution of the next token, not the token: the loss is
KL(base || model), zero at the start (learning without forgetting, arXiv 1606.09282).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .chat_template import Tokens

# The label of token i in a replayed turn is HELD - i: apart from ids (from 0) and from what the loss ignores (-100).
HELD = -1_000


def held_labels(row: Tokens) -> list[int]:
    """The labels of a replayed conversation; -100 outside its learned turns and for the first token."""
    labels = [HELD - i if learn else -100 for i, learn in zip(row.ids, row.in_loss, strict=True)]
    return [-100, *labels[1:]]


def chosen(rows: Sequence[Tokens], tokens: int, seed: int) -> list[Tokens]:
    """Rows in an order drawn by `seed`, until they hold `tokens` tokens; all of them when they hold fewer."""
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    result: list[Tokens] = []
    held = 0
    for place in order:
        if held >= tokens:
            break
        result.append(rows[place])
        held += len(rows[place].ids)
    return result


def tokens_of(rows: Sequence[Tokens]) -> int:
    """All tokens of the rows."""
    return sum(len(row.ids) for row in rows)


def tokens_wanted(own: int, share: float) -> int:
    """Tokens of replay beside `own` tokens, so that `share` of all are replay."""
    return round(own * share / (1 - share))


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
