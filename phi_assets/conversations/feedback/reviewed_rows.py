"""Reviewed candidates as rows that training reads: only what a person approved, and not too much of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from phi_assets.conversations.feedback.rated_answers import Candidate

PERSON_FLOOR = 5
"""Rows that one person may always give, whatever the share."""


@dataclass(frozen=True)
class Review:
    """What a reviewer decided. `answer` is the one to learn: the proposal, or the reviewer's own."""

    candidate: str
    decision: Literal["approve", "reject"]
    answer: str
    reviewer: str
    at: float


@dataclass(frozen=True)
class Approved:
    """An approved candidate with its review."""

    candidate: Candidate
    review: Review


def within_limits(
    approved: Iterable[Approved], most: int | None, person_share: float
) -> tuple[list[Approved], Counter[str]]:
    """Return at most `most` rows, None for any number: corrections first, then the newest; and what was left out.

    One person gives at most `person_share` of them, and PERSON_FLOOR at least.
    """
    ordered = sorted(approved, key=lambda one: (not _corrected(one), -one.review.at, one.candidate.id))
    count = len(ordered) if most is None else min(most, len(ordered))
    a_person = max(PERSON_FLOOR, int(person_share * count))
    by_person: Counter[str] = Counter()
    kept: list[Approved] = []
    left_out: Counter[str] = Counter()
    for each in ordered:
        if by_person[each.candidate.person] >= a_person:
            left_out["share of one person"] += 1
        elif len(kept) >= count:
            left_out["share of the dataset"] += 1
        else:
            by_person[each.candidate.person] += 1
            kept.append(each)
    return sorted(kept, key=lambda one: one.candidate.id), left_out


def json_lines(approved: Sequence[Approved]) -> str:
    """Return a conversation per row, of which only the last answer is learned; and for a correction a preference pair.

    The pair is the approved answer against the one that the model gave to the same conversation.
    """
    lines = [json.dumps(row, ensure_ascii=False) for each in approved for row in _rows(each)]
    return "".join(f"{line}\n" for line in lines)


def _rows(approved: Approved) -> list[dict[str, Any]]:
    candidate, answer = approved.candidate, approved.review.answer
    context = [{**turn, "train": False} if turn["role"] == "assistant" else dict(turn) for turn in candidate.turns]
    rows: list[dict[str, Any]] = [{"messages": [*context, {"role": "assistant", "content": answer}]}]
    if answer.strip() != candidate.given.strip() and candidate.given.strip():
        rows.append({"prompt": list(candidate.turns), "chosen": answer, "rejected": candidate.given})
    return rows


def _corrected(approved: Approved) -> bool:
    return approved.review.answer.strip() != approved.candidate.given.strip()
