"""The training conversations most similar to an answer, by words. Similarity does not prove origin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from phi_assets.conversations.words import features

NEAREST = 3
# A fact is asked for in many wordings, and is expressed in few words. Of the project's 80 evaluation questions with
# their answers, the nearest conversation held the fact in 80 by this weight, 79 by 1/2, and 63 by the question alone;
# in 71 where the answer was said in words that the training conversations do not have ("thirty-eight" for 38).
ANSWER_WEIGHT = 0.6


@dataclass(frozen=True)
class Near:
    """A conversation of the training split, and the similarity (0 to 1) of its most similar exchange.

    `reviewed`: it is feedback of the chat, which a person approved.
    """

    id: str
    similarity: float
    messages: Sequence[dict[str, Any]]
    question: str
    answer: str
    reviewed: bool = False


def nearest(rows: Iterable[dict[str, Any]], question: str, answer: str, count: int = NEAREST) -> list[Near]:
    """Return the `count` most similar conversations, each by its most similar exchange, without those of similarity 0.

    Cosine similarity of TF-IDF vectors of words, of the questions and of the answers (Salton and Buckley 1988).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    exchanges = [(row, asked, answered) for row in rows for asked, answered in exchanges_of(row["messages"])]
    texts = [text for _, *both in exchanges for text in both]
    analyzer: Any = partial(features, punctuation=False)
    vectors: Any = TfidfVectorizer(analyzer=analyzer, sublinear_tf=True)
    try:
        known = vectors.fit_transform(texts)
    except ValueError:  # no text has a word
        return []
    asked_like, answered_like = (
        (known[start::2] @ vectors.transform([text]).T).toarray().ravel()
        for start, text in enumerate((question, answer))
    )
    numbers = (1 - ANSWER_WEIGHT) * asked_like + ANSWER_WEIGHT * answered_like
    found: dict[str, Near] = {}
    for place in numbers.argsort(kind="stable")[::-1]:
        row, its_question, its_answer = exchanges[place]
        similarity = float(numbers[place])
        if similarity <= 0 or len(found) == count:
            break
        found.setdefault(row["id"], Near(row["id"], similarity, row["messages"], its_question, its_answer))
    return list(found.values())


def exchanges_of(messages: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return question and answer of each turn of the assistant that was learned."""
    found, asked = [], list[str]()
    for message in messages:
        if message["role"] == "assistant":
            if message.get("learn", True):
                found.append(("\n".join(asked), message["content"]))
            asked = []
        elif message["role"] == "user":
            asked.append(message["content"])
    return found
