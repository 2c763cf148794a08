"""Builds the report of an evaluation from the measurements. Numbers that are not finite become null."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation_code.answering import GENERAL_NEW_TOKENS, MAX_NEW_TOKENS, Reply, count
from evaluation_code.bits_per_byte import RowScore
from evaluation_code.inputs import Question
from evaluation_code.intervals import DRAWS, paired_difference, wilson
from evaluation_code.matching import answer_keys, holds
from evaluation_code.models import Measured, Subjects

FORMAT = 1


def build_report(
    measured: Mapping[str, Measured],
    subjects: Subjects,
    *,
    unseen_by_champion: Sequence[int] | None,
    tested_champion: Sequence[int] = (),
    seed: int,
) -> dict[str, Any]:
    """The contents of evaluation.json. Equal models, subjects and seed give equal bytes, so it holds no times.

    `measured` has "base", "tuned" and perhaps "champion"; `unseen_by_champion` are the places of the test rows that the
    champion did not train on, None when there is no champion; `tested_champion` those of its own test split.
    """
    base_right = [place for place, reply in enumerate(measured["base"].general) if reply.judgement.right]
    usable = [
        place for place in range(len(subjects.test_rows)) if all(model.rows[place] for model in measured.values())
    ]
    report = {
        "format": FORMAT,
        "settings": {
            "seed": seed,
            "draws": DRAWS,
            "max_new_tokens": MAX_NEW_TOKENS,
            "general_new_tokens": GENERAL_NEW_TOKENS,
        },
        "test_split": {
            "rows": len(usable),
            "groups": len({subjects.test_rows[place].group for place in usable}),
            "longer_than_context": len(subjects.test_rows) - len(usable),
        },
        "questions": _about_questions(subjects.questions),
        "general": {"count": len(subjects.general), "base_right": len(base_right)},
        "models": {name: _about_model(model, subjects, usable, base_right, seed) for name, model in measured.items()},
        "comparisons": {
            "base": {
                **_compare(measured, "base", usable, subjects, seed),
                "right": _right_difference(measured, "base", seed),
            },
            "champion": None,
            "champion_on_its_own_test": None,
        },
    }
    report["models"].setdefault("champion", None)
    if unseen_by_champion is not None:
        left = sorted(set(usable) & set(unseen_by_champion))
        comparison = _compare(measured, "champion", left, subjects, seed)
        report["comparisons"]["champion"] = {
            **comparison,
            "left_out_rows": len(usable) - len(left),
            "right": _right_difference(measured, "champion", seed),
        }
        known = sorted(set(left) & set(tested_champion))
        if known:
            report["comparisons"]["champion_on_its_own_test"] = _compare(measured, "champion", known, subjects, seed)
    return _finite(report)


def row_results(measured: Mapping[str, Measured], subjects: Subjects) -> Iterator[dict[str, Any]]:
    """One record per test row, evaluation question and general question, with every model's result."""
    for place, row in enumerate(subjects.test_rows):
        scores = {name: model.rows[place] for name, model in measured.items()}
        yield _finite({"kind": "test", "id": row.id, "group": row.group, **{n: _plain(s) for n, s in scores.items()}})
    for kind, questions in (("question", subjects.questions), ("general", subjects.general)):
        for place, question in enumerate(questions):
            replies = {name: (m.questions if kind == "question" else m.general)[place] for name, m in measured.items()}
            yield {
                "kind": kind,
                "number": place + 1,
                "messages": list(question.messages),
                "answers": list(question.answers),
                **{name: _about_reply(reply) for name, reply in replies.items()},
            }


def _about_questions(questions: Sequence[Question]) -> dict[str, Any]:
    given = sum(any(holds(key.asked, answer) for answer in key.accepted) for key in answer_keys(questions))
    note = "no evaluation questions: the test split alone decides" if not questions else None
    if given:
        note = f"{given} of {len(questions)} evaluation questions hold their own answer: repeating them is enough"
    return {"count": len(questions), "with_history": sum(q.with_history for q in questions), "note": note}


def _about_model(
    model: Measured, subjects: Subjects, usable: Sequence[int], base_right: Sequence[int], seed: int
) -> dict[str, Any]:
    scores = [score for place in usable if (score := model.rows[place])]
    size = sum(score.content_bytes for score in scores)
    questions = count(subjects.questions, model.questions, seed=seed) if subjects.questions else None
    # Minus zero: the interval of the model's own bits per byte, drawn by group like the differences.
    own = paired_difference(
        [score.bits for score in scores],
        [0.0] * len(scores),
        [score.content_bytes for score in scores],
        [subjects.test_rows[place].group for place in usable],
        seed=seed,
    )
    kept = sum(model.general[place].judgement.right for place in base_right)
    return {
        "address": str(model.address),
        "bits_per_byte": own.difference,
        "bits_per_byte_lower": own.lower,
        "bits_per_byte_upper": own.upper,
        "content_bytes": size,
        "tokens": sum(score.tokens for score in scores),
        "rows_not_finite": sum(not math.isfinite(score.bits) for score in scores),
        "questions": _plain(questions),
        "general_right": sum(reply.judgement.right for reply in model.general),
        "general_kept": _plain(wilson(kept, len(base_right))),
        "general_gained": sum(reply.judgement.right for reply in model.general) - kept,
    }


def _compare(
    measured: Mapping[str, Measured], other: str, places: Sequence[int], subjects: Subjects, seed: int
) -> dict[str, Any]:
    def scores(name: str) -> list[RowScore]:
        return [score for place in places if (score := measured[name].rows[place])]

    ours, theirs = scores("tuned"), scores(other)
    return dataclasses.asdict(
        paired_difference(
            [score.bits for score in ours],
            [score.bits for score in theirs],
            [score.content_bytes for score in ours],
            [subjects.test_rows[place].group for place in places],
            seed=seed,
        )
    )


def _right_difference(measured: Mapping[str, Measured], other: str, seed: int) -> dict[str, Any] | None:
    """The tuned model's share of right answers minus the other's, on the same questions, with 95% bounds."""
    ours, theirs = ([float(reply.judgement.right) for reply in measured[name].questions] for name in ("tuned", other))
    if not ours:
        return None
    return dataclasses.asdict(paired_difference(ours, theirs, [1] * len(ours), range(len(ours)), seed=seed))


def _about_reply(reply: Reply) -> dict[str, Any]:
    return {
        "reply": reply.text,
        "right": reply.judgement.right,
        "reason": reply.judgement.reason,
        "stopped": reply.stopped,
    }


def _plain(value: Any) -> dict[str, Any] | None:
    return dataclasses.asdict(value) if value is not None else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
