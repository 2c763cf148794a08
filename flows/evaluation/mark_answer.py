"""Marks one answer by the same rule as the model's own evaluation."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from promptflow.core import tool

from evaluation_code.inputs import read_questions
from evaluation_code.matching import Key, answer_keys, judge


@tool
def mark_answer(answer: str, row: int, questions_file: str) -> dict[str, Any]:
    """Return `{"right": bool, "reason": text}` for an answer to question `row` (from 0) of the file."""
    keys = _keys(questions_file, Path(questions_file).stat().st_mtime_ns)
    judgement = judge(answer, keys[row])
    return {"right": judgement.right, "reason": judgement.reason}


@lru_cache(maxsize=4)
def _keys(questions_file: str, modified: int) -> list[Key]:
    """Return the file's keys, cached because they are computed from all questions together."""
    return answer_keys(read_questions(Path(questions_file)))
