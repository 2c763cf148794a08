"""When a reply is right."""

import pytest

from evaluation_code.inputs import Question
from evaluation_code.matching import answer_keys, holds, judge
from evaluation_code.normalise import normalise, normalise_answer


def question(text: str, *answers: str) -> Question:
    return Question(({"role": "user", "content": text},), answers)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("It takes 14 days.", "14 days"),
        ("IT TAKES 14 DAYS!", "14 days"),
        ("a 14-day trial", "14 day"),
        ("It costs 1,000 crowns.", "1000"),
        ("It costs 12\u202f345,00", "12345.00"),
        ("exactly 1'250'000 steps", "1250000"),
        ("That is 3.5 hours.", "3.5"),
        ("That is 3,5 hours.", "3.5"),
        ("version 2.1.3, I think", "2.1.3"),
        ("open until 10:30.", "10:30"),
        ("between 5-10 people", "10"),
        ("from \u22125 degrees", "-5"),
        ("It is the Blue Ring.", "the blue ring"),
        ("It is Blue Ring", "The Blue Ring"),
        ("You need plan A for that.", "plan A"),
        ("the end of the month", "end of month"),
        ("Microsoft's founder", "Microsoft"),
        ("I don't know", "dont know"),
        ("written in C++, mostly", "C++"),
        ("only $40 a year", "$40"),
        ("only $40 a year", "40"),
        ("keep it at 50%", "50%"),
        ("**Marta Quill**", "marta quill"),
        ("code _E41_", "e41"),
        ("\uff21\uff22\uff13", "AB3"),  # full-width letters
        ("stra\u00dfe", "STRASSE"),
        ("cafe\u0301", "caf\u00e9"),
        ("答えは東京です。", "東京"),
        ("a bolt of \u00bd inch", "1/2 inch"),
    ],
)
def test_a_reply_holds_an_answer_however_it_is_written(reply: str, answer: str):
    assert holds(normalise(reply), normalise_answer(answer))


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("It takes 140 days.", "14"),
        ("It takes 14.5 days.", "14"),
        ("It takes 14,5 days.", "14"),
        ("It costs 14,000.", "14"),
        ("It costs 14,000.", "000"),
        ("version 2.1.3", "2.1"),
        ("at 14:30", "14"),
        ("minus sign: -5", "5"),
        ("the parish", "Paris"),
        ("plan B", "plan A"),
        ("written in C", "C++"),
        ("E41 is shown", "41"),
        ("14 hours", "14 days"),
        ("fourteen days", "14 days"),
        ("", "14"),
        ("!!!", "14"),
    ],
)
def test_a_reply_does_not_hold_what_is_only_part_of_a_token(reply: str, answer: str):
    assert not holds(normalise(reply), normalise_answer(answer))


PHONES = [
    question("How long is the trial?", "14 days", "fourteen days"),
    question("How long is the guarantee of the Blue Ring?", "24 months"),
    question("Which lamp is it?", "Blue Ring"),
    question("Which lamp is the brightest one?", "Blue Ring Pro"),
    question("How many days may I try it?", "14 days"),
    question("How many lamps are in a box?", "14"),
]


@pytest.mark.parametrize(
    ("number", "reply", "right", "reason"),
    [
        (0, "The trial is 14 days.", True, "right"),
        (0, "Fourteen days.", True, "right"),
        (0, "", False, "empty"),
        (0, " \n ", False, "empty"),
        (0, "I cannot say.", False, "holds no accepted answer"),
        (0, "14 days, or 24 months.", False, "also says 24 months"),
        (0, "14 days, with the Blue Ring.", False, "also says blue ring"),
        # What the question itself says proves nothing.
        (1, "The Blue Ring's guarantee is 24 months.", True, "right"),
        # An answer that contains this one, or lies in it, is not a competing one.
        (2, "The Blue Ring Pro.", True, "right"),
        (3, "The Blue Ring Pro.", True, "right"),
        (3, "The Blue Ring.", False, "holds no accepted answer"),
        # Two questions with a common answer ask for the same thing.
        (4, "You may try it for 14 days (fourteen days).", True, "right"),
        (5, "There are 14 in it.", True, "right"),
        (5, "There are 14 in it, for 24 months.", False, "also says 24 months"),
    ],
)
def test_a_reply_is_right_when_it_holds_an_answer_and_no_competing_one(
    number: int, reply: str, right: bool, reason: str
):
    judgement = judge(reply, answer_keys(PHONES)[number])
    assert (judgement.right, judgement.reason) == (right, reason)


def test_a_reply_that_lists_every_answer_is_wrong_for_every_question():
    questions = [question(f"What is the code of lamp {name}?", str(100 + i)) for i, name in enumerate("bcdefgh")]
    everything = " ".join(str(100 + i) for i in range(7))
    assert not any(judge(everything, key).right for key in answer_keys(questions))


def test_an_answer_in_the_history_does_not_compete():
    asked = Question(
        (
            {"role": "user", "content": "What is the Blue Ring?"},
            {"role": "assistant", "content": "A lamp with a guarantee of 24 months."},
            {"role": "user", "content": "And its trial?"},
        ),
        ("14 days",),
    )
    keys = answer_keys([asked, question("How long is the guarantee?", "24 months")])
    assert judge("After 14 days the 24 months begin.", keys[0]).right
