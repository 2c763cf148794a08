"""Approved answers as rows: their form, which turn is learned, and the limits."""

import json

from phi_assets.conversations.feedback.rated_answers import candidates
from phi_assets.conversations.feedback.reviewed_rows import PERSON_FLOOR, Approved, Review, json_lines, within_limits
from phi_assets.conversations.formats.shapes import parse_conversation
from tests.support.chat_ratings import rated


def approved(number: int = 1, *, user: str = "ann", answer: str = "", **rating) -> Approved:
    [candidate], _ = candidates([rated(f"Question {number} about it?", number=number, user=user, **rating)], str, [])
    return Approved(candidate, Review(candidate.id, "approve", answer or candidate.proposed, "carl", float(number)))


def test_only_the_approved_answer_is_learned_and_a_correction_is_a_pair_too():
    rows = [json.loads(line) for line in json_lines([approved(before=(("Hello", "Hi."),))]).splitlines()]
    assert rows[0]["messages"][1] == {"role": "assistant", "content": "Hi.", "train": False}
    assert rows[0]["messages"][-1] == {"role": "assistant", "content": "Two years."}
    assert (rows[1]["chosen"], rows[1]["rejected"], len(rows[1]["prompt"])) == ("Two years.", "One year.", 3)
    read = parse_conversation(rows[0], {}, frozenset())
    assert [message.learn for message in read.messages if message.role == "assistant"] == [False, True]
    assert len(parse_conversation(rows[1], {}, frozenset()).preferences) == 1


def test_an_answer_as_it_was_is_no_pair_and_a_reviewers_own_words_are():
    up = approved(value="up", correction="")
    assert len(json_lines([up]).splitlines()) == 1
    mended = approved(value="up", correction="", answer="Three years.")
    rows = [json.loads(line) for line in json_lines([mended]).splitlines()]
    assert rows[0]["messages"][-1]["content"] == "Three years."
    assert (rows[1]["chosen"], rows[1]["rejected"]) == ("Three years.", "One year.")


def test_corrections_come_before_answers_that_were_rated_up():
    ups = [approved(number, value="up", correction="") for number in range(10, 16)]
    corrections = [approved(number) for number in range(1, 4)]
    kept, left_out = within_limits([*ups, *corrections], 4, 1.0)
    assert sum(each.candidate.correction for each in kept) == 3
    assert left_out == {"share of the dataset": 5}
    assert within_limits([*ups, *corrections], None, 1.0)[1] == {}
    assert within_limits(corrections, 0, 1.0)[0] == []


def test_one_person_does_not_fill_the_dataset():
    of_ann = [approved(number) for number in range(1, 31)]
    of_bob = [approved(number, user="bob") for number in range(31, 35)]
    kept, left_out = within_limits([*of_ann, *of_bob], 20, 0.25)
    people = [each.candidate.person for each in kept]
    assert sorted(people.count(person) for person in set(people)) == [4, PERSON_FLOOR]
    assert left_out["share of one person"] == 25
