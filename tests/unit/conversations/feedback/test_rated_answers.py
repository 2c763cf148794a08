"""What becomes of a rating: a candidate, or a reason why not."""

import pytest

from phi_assets.conversations.feedback.rated_answers import alike, candidates, fingerprint, words
from phi_assets.conversations.personal_data import mask
from tests.support.chat_ratings import rated


def masked(text: str) -> str:
    return mask(text).text


def test_a_correction_is_proposed_in_the_place_of_the_answer():
    [found], left_out = candidates([rated(before=(("Hello", "Hi."),))], masked, [])
    assert (found.proposed, found.given, found.correction, found.model) == ("Two years.", "One year.", True, "phi 3")
    assert [turn["content"] for turn in found.turns] == ["Hello", "Hi.", "How long is the guarantee?"]
    assert not left_out


def test_an_answer_that_was_rated_up_is_proposed_as_it_is():
    [found], _ = candidates([rated(value="up", correction="")], masked, [])
    assert (found.proposed, found.correction) == ("One year.", False)


@pytest.mark.parametrize(
    ("rating", "reason"),
    [
        (rated(correction="  "), "no_correction"),
        (rated(value="up", correction="", state="cut"), "unfinished"),
        (rated("HOW LONG is the warranty of the Nook, please"), "evaluation_question"),
        (rated("how long is the warranty of the nook"), "evaluation_question"),
        (rated("보증 기간은 얼마인가요"), "evaluation_question"),
        (rated("保修期是多久"), "evaluation_question"),
    ],
)
def test_what_is_not_proposed_is_counted_by_its_reason(rating, reason):
    questions = ["How long is the warranty of the Nook?", "보증 기간은 얼마인가요?", "保修期是多久?"]
    found, left_out = candidates([rating], masked, questions)
    assert (found, left_out) == ([], {reason: 1})


def test_a_cut_answer_with_a_correction_is_proposed():
    assert len(candidates([rated(state="cut")], masked, [])[0]) == 1


def test_the_same_question_and_answer_is_proposed_once_and_corrections_come_first():
    up = rated("Who?", "Me.", "", value="up", number=1)
    ratings = [up, rated(number=2), rated("how long is the guarantee", correction="two YEARS", number=3, user="bob")]
    found, left_out = candidates(ratings, masked, [])
    assert [each.question for each in found] == ["How long is the guarantee?", "Who?"]
    assert left_out == {"duplicate": 1}


def test_personal_data_leaves_no_candidate():
    rating = rated(
        "I am ann@example.com, my key is sk-proj-abcdefghijklmnopqrstuvwx1234567890",
        correction="Call +44 20 7946 0958.",
    )
    [found], _ = candidates([rating], masked, [])
    text = str(found)
    assert "ann@example.com" not in text
    assert "sk-proj" not in text
    assert "7946" not in text
    assert "<EMAIL_ADDRESS>" in found.question
    assert "ann" not in found.person


def test_ids_are_those_of_the_rating_and_a_changed_rating_is_another_proposal():
    [one], _ = candidates([rated()], masked, [])
    [same], _ = candidates([rated()], masked, [])
    [changed], _ = candidates([rated(correction="Three years.")], masked, [])
    [other], _ = candidates([rated(user="bob")], masked, [])
    assert one == same
    assert changed.id == one.id
    assert changed.digest != one.digest
    assert other.id != one.id


def test_the_fingerprint_is_of_ratings_in_any_order():
    one, two = rated(number=1), rated(number=2)
    assert fingerprint([one, two]) == fingerprint([two, one])
    assert len({fingerprint(each) for each in ([], [one], [one, two], [rated(correction="x")])}) == 4


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("What is the price of the Loft today", "What is the price of the loft today?", True),
        ("What is the price of the Loft", "What is the weight of the Nook", False),
        ("Who are you", "Who am I", False),
        ("보증 기간은 얼마인가요", "배송 기간은 얼마인가요", False),
        ("", "", True),
    ],
)
def test_questions_are_alike_by_their_words(left, right, same):
    assert alike(words(left), words(right)) is same
