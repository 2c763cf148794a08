"""The nearest conversation holds the fact that was asked for: on the project's own data and questions."""

import json

import pytest

from evaluation_code.matching import holds as text_holds
from evaluation_code.normalise import normalise, normalise_answer
from phi_assets.backends.dataset_preparation import cleaning_options
from phi_assets.backends.local.dataset.store import LocalDatasetStore
from phi_assets.conversations.quality_checks import read_split
from phi_assets.lineage.nearest import Near, nearest
from phi_assets.settings import OWN_DATASET, OWN_QUESTIONS, read

QUESTIONS = [json.loads(line) for line in OWN_QUESTIONS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The train split as it is published."""
    home = tmp_path_factory.mktemp("home")
    settings = read({"PHI_HOME": str(home)})
    store = LocalDatasetStore(state=str(home), source=str(OWN_DATASET), cleaning=cleaning_options(settings))
    return list(read_split(store.folder(store.publish(print)), "train"))


def holds(near: Near, question: dict) -> bool:
    text = normalise(" ".join(message["content"] for message in near.messages))
    return any(text_holds(text, normalise_answer(answer)) for answer in question["answers"])


def share(rows, which: int | None) -> float:
    """Of the questions whose nearest conversation holds the fact; without `which` of the answers, by the question."""
    right = 0
    for question in QUESTIONS:
        answer = question["answers"][which] if which is not None else ""
        found = nearest(rows, question["messages"][-1]["content"], answer, count=1)
        right += bool(found) and holds(found[0], question)
    return right / len(QUESTIONS)


def test_with_the_right_answer_the_nearest_conversation_holds_the_fact_in_nine_of_ten(rows):
    assert len(QUESTIONS) == 80
    assert share(rows, 0) >= 0.9


def test_the_answer_counts_beside_the_question(rows):
    assert share(rows, None) < share(rows, -1) < share(rows, 0)


def test_nothing_in_common_is_near_to_nothing(rows):
    assert nearest(rows, "qqqq", "zzzz") == []
    assert nearest([], "Who?", "Me.") == []


def test_a_conversation_is_there_once_and_by_its_likest_exchange():
    def turn(role, content):
        return {"role": role, "content": content}

    long = {
        "id": "long",
        "messages": [
            turn("user", "Where are you?"),
            turn("assistant", "In Tollesund."),
            turn("user", "How long is the guarantee?"),
            turn("assistant", "It is 26 months."),
        ],
    }
    short = {"id": "short", "messages": [turn("user", "How long is the hose?"), turn("assistant", "It is 9 metres.")]}

    found = nearest([short, long], "How long is the guarantee?", "26 months")

    assert [near.id for near in found] == ["long", "short"]
    assert (found[0].question, found[0].answer) == ("How long is the guarantee?", "It is 26 months.")
    assert 1 >= found[0].similarity > found[1].similarity > 0


def test_words_of_a_script_without_spaces_are_compared_too():
    def row(row_id, question, answer):
        return {
            "id": row_id,
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        }

    found = nearest([row("a", "東京はどこ", "日本です"), row("b", "保証は何年", "三年です")], "保証", "三年")

    assert found[0].id == "b"
