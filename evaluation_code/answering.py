"""Asks a model the questions through the serving engine, and counts right answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation_code.inputs import InputError, Question
from evaluation_code.intervals import Share, wilson
from evaluation_code.matching import Judgement, Key, answer_keys, compatible, holds, judge
from evaluation_code.normalise import normalise

if TYPE_CHECKING:
    from serving_code.engine import Engine

MAX_NEW_TOKENS = 64
# General questions have short answers, and a base model of a hundred million weights goes on for long.
GENERAL_NEW_TOKENS = 32
SHUFFLES = 20


@dataclass(frozen=True)
class Reply:
    """A model's answer: the text, whether it ended with a stop token, and the judgement."""

    text: str
    stopped: bool
    judgement: Judgement


@dataclass(frozen=True)
class Answered:
    """The counts over one model's replies. `shuffled_share` is None when the keys cannot be shuffled."""

    all: Share
    single_turn: Share
    with_history: Share
    empty: int
    unfinished: int
    shuffled_share: float | None


def ask(
    engine: "Engine",
    questions: Sequence[Question],
    *,
    batch_size: int,
    progress: Callable[[int], None],
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[Reply]:
    """Greedy replies of at most `max_new_tokens`, in the questions' order, `batch_size` decoded together."""
    from serving_code.engine import PromptTooLong, Sampling, UnusablePrompt

    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0)
    for number, question in enumerate(questions, start=1):
        try:
            engine.prepare(question.messages, sampling)
        except (PromptTooLong, UnusablePrompt) as e:
            raise InputError(f"question {number} cannot be used: {e}") from e
    keys = answer_keys(questions)
    replies: list[Reply] = []
    # Several batches per call, so that the engine can refill a row as soon as it is free.
    for start in range(0, len(questions), 4 * batch_size):
        some = slice(start, start + 4 * batch_size)
        completions = engine.complete([question.messages for question in questions[some]], sampling, rows=batch_size)
        for completion, key in zip(completions, keys[some], strict=True):
            replies.append(Reply(completion.text, completion.finish_reason == "stop", judge(completion.text, key)))
        progress(len(replies))
    return replies


def count(questions: Sequence[Question], replies: Sequence[Reply], *, seed: int) -> Answered:
    """Shares right with 95% intervals, in all and by kind of question, and the share with shuffled keys."""
    right = [reply.judgement.right for reply in replies]
    history = [question.with_history for question in questions]
    later = [ok for ok, has in zip(right, history, strict=True) if has]
    return Answered(
        all=wilson(sum(right), len(right)),
        single_turn=wilson(sum(right) - sum(later), len(right) - len(later)),
        with_history=wilson(sum(later), len(later)),
        empty=sum(not normalise(reply.text) for reply in replies),
        unfinished=sum(not reply.stopped for reply in replies),
        shuffled_share=shuffled_share([reply.text for reply in replies], answer_keys(questions), seed=seed),
    )


def shuffled_share(replies: Sequence[str], keys: Sequence[Key], *, seed: int) -> float | None:
    """The mean share of replies that hold an answer of another question, over 20 seeded shuffles of the keys.

    No question gets a key that could be right for it. Competing answers are ignored, because the right answer would be
    one of them: so this is an upper bound of what chance, long replies or a weak file of questions can score.
    """
    texts = [normalise(reply) for reply in replies]
    rng = np.random.default_rng(seed)
    shares = []
    for _ in range(SHUFFLES):
        order = derangement(keys, rng)
        if order is None:
            return None
        hits = [any(holds(text, answer) for answer in keys[j].accepted) for text, j in zip(texts, order, strict=True)]
        shares.append(sum(hits) / len(hits))
    return float(np.mean(shares))


def derangement(keys: Sequence[Key], rng: np.random.Generator) -> list[int] | None:
    """A random order in which no question gets a key that could be right for it; None when none is found."""

    def clash(question: int, key: int) -> bool:
        own = keys[question]
        return any(compatible(answer, own.accepted, own.asked) for answer in keys[key].accepted)

    order = [int(place) for place in rng.permutation(len(keys))]
    for here in range(len(order)):
        if not clash(here, order[here]):
            continue
        swaps = [
            there
            for there in map(int, rng.permutation(len(order)))
            if not clash(here, order[there]) and not clash(there, order[here])
        ]
        if not swaps:
            return None
        order[here], order[swaps[0]] = order[swaps[0]], order[here]
    return order if order else None
