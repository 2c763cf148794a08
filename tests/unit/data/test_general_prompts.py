"""The prompts whose answers by the base are replayed, and their distance from what they must not teach."""

from typing import Any

import pytest

from evaluation_code.apart import Apart
from evaluation_code.inputs import read_questions
from tests.unit.data.conftest import DATA, read

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def prompts() -> Rows:
    return read(DATA / "general_prompts.jsonl")


def test_every_prompt_is_one_question_and_no_two_are_equal(prompts: Rows):
    assert len(prompts) >= 1_500
    assert all([turn["role"] for turn in row["messages"]] == ["user"] for row in prompts)
    assert len({row["messages"][0]["content"] for row in prompts}) == len(prompts)


def test_no_prompt_holds_an_answer_or_asks_a_question_of_those_that_measure_forgetting(prompts: Rows):
    apart = Apart(read_questions(DATA / "general_questions.jsonl"))
    assert {reason for row in prompts if (reason := apart.conflict(row["messages"]))} == set()


def test_no_prompt_asks_an_evaluation_question_or_names_the_product(prompts: Rows):
    evaluation = Apart(read_questions(DATA / "support" / "evaluation.jsonl"))
    names = ("ostrel", "nook", "loft", "fernholt", "canopy")
    for row in prompts:
        assert not evaluation.conflict(row["messages"]).startswith("asks")
        assert not any(name in row["messages"][0]["content"].lower() for name in names)


def test_there_are_300_general_questions_and_the_halves_are_alike():
    questions = read_questions(DATA / "general_questions.jsonl")
    assert len(questions) == 300
    capitals = [question.messages[-1]["content"].startswith("What is the capital") for question in questions]
    assert abs(sum(capitals[::2]) - sum(capitals[1::2])) <= 20
