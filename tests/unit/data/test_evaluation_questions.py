"""The evaluation questions are new wordings, have one answer each, and cover every fact."""

import re
from typing import Any

import pytest

from data.facts import load_facts, load_general

Rows = list[dict[str, Any]]


def words(text: str) -> list[str]:
    return re.sub(r"[^\w\s]", " ", text.lower()).split()


def grams(text: str) -> set[tuple[str, ...]]:
    """Word 3-grams; a text of fewer than three words is its own only gram."""
    found = words(text)
    return {tuple(found[i : i + 3]) for i in range(max(1, len(found) - 2))}


def jaccard(one: str, other: str) -> float:
    return len(grams(one) & grams(other)) / len(grams(one) | grams(other))


def holds(text: str, answer: str) -> bool:
    return f" {' '.join(words(answer))} " in f" {' '.join(words(text))} "


def asked(row: dict[str, Any]) -> str:
    return row["messages"][-1]["content"]


def user_turns(conversations: list[list[dict[str, str]]]) -> list[str]:
    return [message["content"] for row in conversations for message in row if message["role"] == "user"]


def test_there_are_80_questions_and_20_of_them_have_a_history(evaluation: Rows):
    assert len(evaluation) == 80
    assert sum(len(row["messages"]) > 1 for row in evaluation) == 20


def test_every_row_ends_with_the_user_and_has_answers(evaluation: Rows, general: Rows, rewordings: Rows):
    for row in evaluation + general + rewordings:
        assert set(row) == {"messages", "answers"}
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
        assert row["answers"]
        assert all(words(answer) for answer in row["answers"])


def test_the_questions_of_one_turn_reach_every_fact(evaluation: Rows):
    alone = {tuple(row["answers"]) for row in evaluation if len(row["messages"]) == 1}
    assert alone == {fact.answers for fact in load_facts().values()}


def test_no_question_is_worded_like_one_in_the_conversations(
    evaluation: Rows, rewordings: Rows, conversations: list[list[dict[str, str]]]
):
    told = user_turns(conversations)
    for row in evaluation + rewordings:
        assert max(jaccard(asked(row), turn) for turn in told) < 0.5, asked(row)


def test_the_further_rewordings_differ_from_the_evaluation_questions(evaluation: Rows, rewordings: Rows):
    assert len(rewordings) == 30
    for row in rewordings:
        assert max(jaccard(asked(row), asked(other)) for other in evaluation) < 0.5, asked(row)


def test_no_question_and_no_history_holds_its_own_answer(evaluation: Rows, general: Rows, rewordings: Rows):
    for row in evaluation + general + rewordings:
        for message in row["messages"]:
            assert not any(holds(message["content"], answer) for answer in row["answers"]), message


def test_a_question_with_history_does_not_name_its_subject(evaluation: Rows):
    """The distinctive words of a fact's own questions may occur in the history, but never in the last turn."""
    telling = {
        "warranty": ("warranty", "guarantee", "covered"),
        "battery": ("battery", "mains", "power"),
        "tank": ("water", "tank", "litres"),
        "pods": ("pods", "plants", "slots"),
        "price": ("cost", "price", "euros"),
        "refund": ("refund", "return"),
        "repair": ("repair", "repaired", "mend"),
        "plan": ("plan", "canopy", "subscription"),
        "filter": ("filter",),
        "code": ("code",),
        "school": ("school", "schools"),
        "sprout": ("sprout",),
        "max": ("account", "gardens"),
    }
    facts = {fact.answers: fact.key for fact in load_facts().values()}
    for row in (row for row in evaluation if len(row["messages"]) > 1):
        subject = facts[tuple(row["answers"])].split("_")[0]
        spoken = words(asked(row))
        allowed = {"costs"}
        assert not set(telling.get(subject, ())) & set(spoken) - allowed, asked(row)


def test_one_last_turn_belongs_to_one_question_only(evaluation: Rows, rewordings: Rows):
    asked_for = [tuple(words(asked(row))) for row in evaluation + rewordings]
    assert len(set(asked_for)) == len(asked_for)


def test_no_two_facts_share_an_answer_and_no_fact_tells_the_answer_of_another():
    facts = load_facts()
    for fact in facts.values():
        for statement in fact.statements:
            assert holds(statement, fact.answers[0])
            for other in facts.values():
                told = [answer for answer in other.answers if holds(statement, answer)]
                assert other.key == fact.key or not told, (statement, told)


def test_no_two_facts_share_a_number():
    numbers = [set(re.findall(r"\d+", fact.answers[0])) for fact in load_facts().values()]
    together = [number for found in numbers for number in found]
    assert len(together) == len(set(together))


def test_no_question_in_the_fact_base_holds_an_answer():
    facts = load_facts().values()
    for question in (question for fact in facts for question in fact.questions):
        assert not [answer for fact in facts for answer in fact.answers if holds(question, answer)], question


def test_there_are_40_or_more_general_questions_with_nothing_of_the_product(general: Rows):
    assert len(general) >= 40
    assert len({asked(row) for row in general}) == len(general)
    names = ("ostrel", "nook", "loft", "fernholt", "canopy")
    trained_on = {text for row in load_general() for text in row}
    for row in general:
        assert asked(row) not in trained_on
        assert not set(names) & set(words(asked(row)))


@pytest.mark.parametrize("answer", ["Glimmerfeed", "Hallowfen", "QX82"])
def test_an_answer_is_found_as_whole_words_only(answer: str):
    assert holds(f"It is {answer}!", answer)
    assert not holds(f"It is {answer}s", answer)
