"""Asking through the serving engine, counting, and shuffled keys."""

from pathlib import Path

import numpy as np
import pytest

from evaluation_code.answering import Reply, ask, count, derangement, shuffled_share
from evaluation_code.inputs import InputError, Question
from evaluation_code.matching import answer_keys, judge
from serving_code.engine import Engine
from tests.support.tiny_models import make_tiny_phi3
from tests.support.tiny_world import chat
from tests.unit.evaluation_code.conftest import World


def codes(count: int) -> list[Question]:
    return [Question(({"role": "user", "content": f"code of lamp {i}?"},), (str(500 + i),)) for i in range(count)]


def with_history(question: Question) -> Question:
    return Question((*chat("Hello", "Hello, how can I help?"), *question.messages), question.answers)


def replies(questions: list[Question], texts: list[str], *, stopped: bool = True) -> list[Reply]:
    return [Reply(text, stopped, judge(text, key)) for text, key in zip(texts, answer_keys(questions), strict=True)]


def test_right_answers_are_counted_apart_for_questions_with_history():
    questions = [*codes(6)[:4], *map(with_history, codes(6)[4:])]
    answered = count(questions, replies(questions, ["It is 500.", "501", "", "no", "504", "404"]), seed=0)
    assert (answered.all.right, answered.all.count) == (3, 6)
    assert (answered.single_turn.right, answered.single_turn.count) == (2, 4)
    assert (answered.with_history.right, answered.with_history.count) == (1, 2)
    assert (answered.empty, answered.unfinished) == (1, 0)


def test_a_derangement_gives_no_question_a_key_that_could_be_right_for_it():
    questions = [*codes(10), *codes(10)[:3]]  # three answers stand in the file twice
    keys = answer_keys(questions)
    for seed in range(30):
        order = derangement(keys, np.random.default_rng(seed))
        assert order is not None
        assert sorted(order) == list(range(13))
        assert all(not keys[here].accepted & keys[there].accepted for here, there in enumerate(order))


def test_questions_with_one_answer_between_them_cannot_be_shuffled():
    questions = [Question(({"role": "user", "content": f"{i}?"},), ("yes",)) for i in range(4)]
    assert shuffled_share(["yes"] * 4, answer_keys(questions), seed=0) is None


def test_right_replies_score_nothing_under_shuffled_keys():
    questions = codes(30)
    assert shuffled_share([f"It is {500 + i}" for i in range(30)], answer_keys(questions), seed=0) == 0.0


def test_replies_that_list_every_answer_score_all_under_shuffled_keys():
    everything = " ".join(str(500 + i) for i in range(30))
    assert shuffled_share([everything] * 30, answer_keys(codes(30)), seed=0) == 1.0


def test_one_reply_to_everything_scores_about_one_question_under_shuffled_keys():
    share = shuffled_share(["It is 507."] * 30, answer_keys(codes(30)), seed=0)
    assert share == pytest.approx(1 / 30)


def test_replies_do_not_depend_on_how_many_are_decoded_together(world: World):
    from evaluation_code.inputs import read_questions

    engine = Engine.load(world.good)
    questions = read_questions(world.questions)
    told: list[int] = []
    alone = ask(engine, questions, batch_size=1, progress=told.append)
    together = ask(engine, questions, batch_size=16, progress=told.append)
    assert [reply.text for reply in alone] == [reply.text for reply in together]
    assert told == [4, 8, 12, 16, 20, 24, 24]
    assert all(reply.stopped for reply in together)


def test_a_question_that_does_not_fit_the_context_is_named(tmp_path: Path):
    engine = Engine.load(make_tiny_phi3(tmp_path / "model", context_length=64))
    questions = [*codes(2), Question(({"role": "user", "content": "pump " * 100},), ("1",))]
    with pytest.raises(InputError, match="question 3 cannot be used"):
        ask(engine, questions, batch_size=2, progress=lambda done: None)
