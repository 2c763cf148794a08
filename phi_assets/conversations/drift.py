"""Measures how much new conversations differ from those trained on: can a classifier distinguish them?

The classifier two-sample test (Lopez-Paz and Oquab 2017, https://arxiv.org/abs/1610.06545), with words as features. A
distance of word distributions is not usable: that of 10 conversations to 290 of the same source is already 0.56 of 1.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from phi_assets.conversations.grouping import SIDES
from phi_assets.conversations.quality_checks import read_split
from phi_assets.conversations.words import features

# Random parts of one source, 10 against 290: at least 0.5 in 2.2% of 500 draws, 0.6 in 0.6%; 10 against 40: 2.7%, 1.7%.
FEWEST_NEW = 10
FEWEST_TRAINED_ON = 40
_MOST = 2_000  # of each side; a larger sample would not change the decision
_PARTS = 5  # folds of cross-validation


@dataclass(frozen=True)
class Drift:
    """`distance` 0: new and old conversations are indistinguishable; 1: separable. `enough`: the sample suffices."""

    distance: float
    new: int
    trained_on: int
    enough: bool


def drift(trained_on: Iterable[str], new: Iterable[str]) -> Drift:
    """The drift: twice the excess over 0.5 of a logistic regression's ROC AUC in cross-validation.

    A text is a whole conversation. The result is deterministic.
    """
    (old, old_count), (recent, new_count) = _sample(trained_on), _sample(new)
    judged = enough(new_count, old_count)
    return Drift(_distance(old, recent) if judged else 0.0, new_count, old_count, judged)


def enough(new: int, trained_on: int) -> bool:
    """Whether so many conversations suffice to judge their drift."""
    return new >= FEWEST_NEW and trained_on >= FEWEST_TRAINED_ON


def new_rows(trained_folder: Path, folder: Path) -> list[dict[str, Any]]:
    """The rows of a published folder that no split of the other has, by id."""
    known = {row["id"] for row in _rows(trained_folder)}
    return [row for row in _rows(folder) if row["id"] not in known]


def texts(folder: Path, rows: Iterable[dict[str, Any]] | None = None) -> list[str]:
    """The text of every row of a published folder, or of those given, its messages joined."""
    chosen = _rows(folder) if rows is None else rows
    return ["\n".join(message["content"] for message in row["messages"]) for row in chosen]


def drift_since(trained_folder: Path, folder: Path) -> Drift:
    """The drift of the rows that `folder` has and `trained_folder` has not."""
    return drift(texts(trained_folder), texts(folder, new_rows(trained_folder, folder)))


def _rows(folder: Path) -> Iterable[dict[str, Any]]:
    return (row for side in SIDES for row in read_split(folder, side))


def _sample(every: Iterable[str]) -> tuple[list[str], int]:
    """At most `_MOST` of the texts, drawn uniformly by reservoir sampling, and the number of all."""
    generator, sample, count = random.Random(0), list[str](), 0
    for count, text in enumerate(every, start=1):
        place = count - 1 if count <= _MOST else generator.randrange(count)
        if place < _MOST:
            sample[place : place + 1] = [text]
    return sample, count


def _distance(old: list[str], new: list[str]) -> float:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    is_new = [0] * len(old) + [1] * len(new)
    analyzer: Any = partial(features, punctuation=True)
    words = TfidfVectorizer(sublinear_tf=True, analyzer=analyzer)
    classifier = make_pipeline(words, LogisticRegression(class_weight="balanced", max_iter=1_000))
    parts = StratifiedKFold(_PARTS, shuffle=True, random_state=0)
    scores = cross_val_predict(classifier, [*old, *new], is_new, cv=parts, method="decision_function")
    return max(0.0, 2 * float(roc_auc_score(is_new, scores)) - 1)
