"""What a replayed conversation must not share with the general questions."""

import pytest

from evaluation_code.apart import Apart
from evaluation_code.inputs import Message, Question


def asked(*texts: str) -> list[Message]:
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]


def question(text: str, *answers: str) -> Question:
    return Question(tuple(asked(text)), answers)


@pytest.fixture
def apart() -> Apart:
    return Apart(
        [
            question("What is the capital of France?", "Paris"),
            question("한국의 수도는 어디입니까?", "서울"),
            question("What does CPU stand for?", "central processing unit"),
        ]
    )


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (("Where is the Louvre?", "The Louvre is in Paris."), "holds the answer 'paris'"),
        (("Is Paris large?", "Yes."), "holds the answer 'paris'"),
        (("Name a part.", "The Central-Processing Unit computes."), "holds the answer 'central processing unit'"),
        (("어디에 사세요?", "저는 서울에서 삽니다."), "holds the answer '서울'"),
        (("What is the capital city of France?", "I do not know."), "asks nearly the same as a question"),
        (("WHAT IS THE CAPITAL OF FRANCE", "Lyon."), "asks nearly the same as a question"),
    ],
)
def test_an_answer_or_a_question_that_is_shared_is_found(apart: Apart, turns: tuple[str, ...], reason: str):
    assert apart.conflict(asked(*turns)).startswith(reason)


@pytest.mark.parametrize(
    "turns",
    [
        ("What is the capital of Finland?", "Helsinki."),
        ("Who paints?", "The Parisian painter does."),
        ("What is a unit?", "A unit measures."),
        ("안녕하세요?", "반갑습니다."),
    ],
)
def test_other_conversations_are_apart(apart: Apart, turns: tuple[str, ...]):
    assert apart.conflict(asked(*turns)) == ""
