"""Marks of what is not to be learned: `weight: 0`, `train: false`, `label: false`, masks, of a turn or of a row.

A mark that is not understood is refused by its name: an answer that its author excluded is never learned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from phi_assets.conversations.rows import ContextOnly, Message, Rejected

LEARN = frozenset({"weight", "train", "trainable", "learn", "label", "loss", "loss_weight", "loss_mask", "train_mask",
                   "sample_weight", "train_on", "train_on_turn", "is_train", "compute_loss", "in_loss",
                   "include_in_loss", "should_train", "use_for_training"})  # fmt: skip
"""Marks of what is learned, when true or 1."""
LEAVE = frozenset({"mask", "masked", "ignore", "ignored", "ignore_loss", "no_loss", "skip", "exclude", "excluded",
                   "do_not_train", "dont_train", "no_train", "not_for_training", "do_not_learn", "exclude_from_loss",
                   "exclude_from_training", "context_only"})  # fmt: skip
"""Marks of what is not learned, when true."""
_LISTS = {"weights": "weight", "labels": "label", "masks": "mask", "loss_masks": "loss_mask", "trains": "train"}
_SIMILAR = re.compile(r"(?:^|_)(?:loss|masks?|masked|train(?:ing)?_detail|train_on|(?:no|not|dont)_train)(?:_|$)")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORDS = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}
_REMEDY = "give 0 or 1, or true or false, or rename it"


@lru_cache(maxsize=4096)
def _canonical(key: str) -> str:
    """The name of a key in lower case with underscores: `trainOnTurn` and `Train-On-Turn` are `train_on_turn`."""
    return _HUMP.sub("_", key).replace("-", "_").casefold()


@lru_cache(maxsize=4096)
def _is_mark_name(name: str) -> bool:
    return name in LEARN | LEAVE or bool(_SIMILAR.search(name))


def _is_mark(key: str, value: Any) -> bool:
    name = _canonical(key)
    if not _is_mark_name(name) or value is None:
        return False
    if name == "label":  # it also names classes
        return isinstance(value, bool) or (isinstance(value, str) and value.strip().casefold() in ("true", "false"))
    if name in LEARN:
        return True
    return not isinstance(value, Mapping) and (not isinstance(value, str) or value.strip().casefold() in _WORDS)


def learned(value: Mapping[str, Any]) -> tuple[bool, set[str]]:
    """Whether the turn or row is learned by its own marks, and the names of these. Raises Rejected."""
    marks = {str(key): item for key, item in value.items() if _is_mark(str(key), item)}
    meanings = [_meaning(key, item) for key, item in marks.items()]  # all of them: each may be refused
    return all(meanings), set(marks)


def by_turn(row: Mapping[str, Any], turns: Sequence[Message]) -> tuple[list[Message], set[str]]:
    """The turns with the marks of the row's lists, such as `weights`, applied, and the names of these. Raises Rejected.

    A list has an item for each turn, or for each turn of the assistant.
    """
    used = set[str]()
    marked = list(turns)
    answers = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    for key, name, items in _lists(row):
        places = list(range(len(turns))) if len(items) == len(turns) else answers
        if len(items) != len(places):
            raise _refused(key, f"has {len(items)} items for {len(turns)} turns")
        used.add(key)
        for place, item in zip(places, items, strict=True):
            if turns[place].role == "assistant" and item is not None and not _meaning(name, item):
                marked[place] = ContextOnly(*turns[place])
    return marked, used


def _lists(row: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    for key, items in row.items():
        if not isinstance(items, list) or not items:
            continue
        name = _LISTS.get(_canonical(str(key)), _canonical(str(key)))
        if _is_mark_name(name) and all(not isinstance(item, (dict, list)) for item in items):
            if name == "label" and not all(isinstance(item, bool) or item is None for item in items):
                if -100 in items:  # of tokens, as torch's loss leaves them out
                    raise _refused(str(key), "holds -100")
                continue  # classes
            yield str(key), name, items


def _meaning(key: str, value: Any) -> bool:
    """Whether the mark says that its turn is learned. Raises Rejected."""
    name = _canonical(key)
    if isinstance(value, str):
        value = _WORDS.get(value.strip().casefold(), value)
    if isinstance(value, bool) and name in LEARN | LEAVE:
        return value is (name in LEARN)
    if isinstance(value, (int, float)) and value in (0, 1) and name in LEARN:
        return value == 1
    raise _refused(key, f"is {str(value)[:60]!r}" if isinstance(value, str) else f"is {str(value)[:60]}")


def _refused(key: str, what: str) -> Rejected:
    return Rejected("loss_mark", "unsupported", f"{key} {what}, which no loss mask can say; {_REMEDY}")
