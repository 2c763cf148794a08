"""Answers do not depend on other rows of the batch, end at stop tokens, and stay within the model's context."""

from typing import Any

import pytest

from serving_code.engine import Completion, Engine, PromptTooLong, Sampling, completion_of
from serving_code.prompts import Message
from tests.unit.serving_code.conftest import write_model

QUESTIONS = [
    "How do I reset the pump?",
    "hello",
    "Where?",
    "Who wrote the manual, and where is it kept? Please tell me more about the problem with the garden hose.",
    "The lamp is red.",
    "Is there anything else? " * 8,
    "12 months",
    "Thank you, that helped a lot!",
]


def ask(*questions: str) -> list[list[Message]]:
    return [[Message(role="user", content=question)] for question in questions]


def alone(engine: Engine, sampling: Sampling) -> list[Completion]:
    return [engine.complete(ask(question), sampling)[0] for question in QUESTIONS]


def test_greedy_answers_in_a_batch_of_eight_equal_those_alone(lively):
    sampling = Sampling(max_new_tokens=40)

    together = lively.complete(ask(*QUESTIONS), sampling)

    assert together == alone(lively, sampling)
    assert len({answer.text for answer in together}) == len(QUESTIONS)


def test_sampled_answers_with_a_seed_do_not_depend_on_the_batch(lively):
    sampling = Sampling(max_new_tokens=24, temperature=0.8, top_p=0.95, seed=3)

    assert lively.complete(ask(*QUESTIONS), sampling) == alone(lively, sampling)


def test_answers_keep_their_order_when_rows_leave_and_join(lively):
    sampling = Sampling(max_new_tokens=30)

    assert lively.complete(ask(*QUESTIONS), sampling, rows=3) == alone(lively, sampling)


def test_an_answer_is_what_transformers_generates(lively, lively_model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(lively_model)
    model: Any = AutoModelForCausalLM.from_pretrained(lively_model, dtype="float32")
    for conversation in ask(*QUESTIONS[:4]):
        inputs = tokenizer.apply_chat_template(
            conversation, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        output = model.generate(**inputs, max_new_tokens=40, do_sample=False)
        new = output[0, inputs["input_ids"].shape[1] :]

        [answer] = lively.complete([conversation], Sampling(max_new_tokens=40))

        assert answer.completion_tokens == len(new)
        assert answer.text == tokenizer.decode(new, skip_special_tokens=True).rstrip("\ufffd")


def test_a_late_request_joins_a_running_batch_and_changes_nobody(lively):
    sampling = Sampling(max_new_tokens=30)
    [first, late] = [lively.prepare(conversation, sampling) for conversation in ask(QUESTIONS[3], QUESTIONS[1])]
    batch = lively.new_batch()
    batch.admit([first])
    for _ in range(5):
        batch.step()
    batch.admit([late])
    while batch.rows:
        batch.step()

    expected = [lively.complete(ask(question), sampling)[0] for question in (QUESTIONS[3], QUESTIONS[1])]
    assert [completion_of(first), completion_of(late)] == expected


def test_a_discarded_request_costs_no_more_and_changes_nobody(lively):
    sampling = Sampling(max_new_tokens=30)
    kept, dropped = (lively.prepare(conversation, sampling) for conversation in ask(QUESTIONS[1], QUESTIONS[5]))
    batch = lively.new_batch()
    batch.admit([kept, dropped])
    batch.step()
    batch.discard(dropped)
    batch.discard(dropped)
    while batch.rows:
        batch.step()

    assert dropped.produced == 1
    assert completion_of(kept) == lively.complete(ask(QUESTIONS[1]), sampling)[0]


def test_streamed_pieces_are_the_whole_answer(lively):
    for conversation in ask(*QUESTIONS):
        sampling = Sampling(max_new_tokens=40)

        assert "".join(lively.stream(conversation, sampling)) == lively.complete([conversation], sampling)[0].text


def test_an_answer_ends_before_a_stop_string_that_spans_tokens(lively):
    [free] = lively.complete(ask(QUESTIONS[0]), Sampling(max_new_tokens=20))
    stop = free.text[5:11]

    [stopped] = lively.complete(ask(QUESTIONS[0]), Sampling(max_new_tokens=20, stop=("not there", stop)))

    assert stopped.text == free.text[: free.text.index(stop)]
    assert stopped.finish_reason == "stop"
    assert stopped.completion_tokens < free.completion_tokens


def test_the_end_token_ends_the_answer_and_is_not_in_it(lively):
    answers = lively.complete(ask(*QUESTIONS), Sampling(max_new_tokens=200))

    ended = [answer for answer in answers if answer.finish_reason == "stop"]
    assert ended
    assert not any("<|" in answer.text for answer in ended)


def test_max_new_tokens_ends_the_answer_with_length(endless):
    [answer] = endless.complete(ask("hello"), Sampling(max_new_tokens=7))

    assert (answer.finish_reason, answer.completion_tokens) == ("length", 7)


def test_every_end_id_of_the_family_ends_an_answer(tmp_path):
    engine = Engine.load(write_model(tmp_path, family="phi3"))

    assert len(engine._loaded.end_ids) == 2


def test_an_answer_is_cut_at_the_end_of_the_context(tmp_path):
    engine = Engine.load(write_model(tmp_path, context_length=64))

    [answer] = engine.complete(ask("hello"), Sampling(max_new_tokens=500))

    assert answer.finish_reason == "length"
    assert answer.prompt_tokens + answer.completion_tokens == 64


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(tmp_path):
    engine = Engine.load(write_model(tmp_path, context_length=64))

    with pytest.raises(PromptTooLong, match=r"has \d{3} tokens and the context length, answer included, is 64"):
        engine.complete(ask("hello " * 100), Sampling())


def test_no_conversations_give_no_answers(lively):
    assert lively.complete([], Sampling()) == []


@pytest.mark.parametrize("family", ["smollm2", "phi3", "phi4"])
def test_every_family_answers_with_history_and_a_system_turn(tmp_path, family):
    engine = Engine.load(write_model(tmp_path, family=family, scale=8.0))
    turns: list[Message] = [
        {"role": "system", "content": "You know pumps."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "How do I reset it?"},
    ]

    [answer] = engine.complete([turns], Sampling(max_new_tokens=8))

    assert 1 <= answer.completion_tokens <= 8


def test_the_oldest_turns_are_left_out_until_the_answer_has_room(tmp_path):
    engine = Engine.load(write_model(tmp_path, context_length=256))
    talk: list[Message] = [{"role": "system", "content": "Be brief."}]
    for number in range(40):
        talk += [
            Message(role="user", content=f"question {number}"),
            Message(role="assistant", content=f"answer {number}"),
        ]
    talk.append({"role": "user", "content": "the last one"})
    sampling = Sampling(max_new_tokens=50)

    with pytest.raises(PromptTooLong):
        engine.prepare(talk, sampling)
    generation = engine.prepare(talk, sampling, drop_oldest=True)

    assert 0 < generation.dropped_turns < 80
    assert generation.dropped_turns % 2 == 0
    kept = [talk[0], *talk[1 + generation.dropped_turns :]]
    assert generation.prompt == engine.prepare(kept, sampling).prompt
    assert len(generation.prompt) <= 256 - 50
    more = [talk[0], *talk[1 + generation.dropped_turns - 2 :]]
    assert len(engine.prepare(more, Sampling(max_new_tokens=1)).prompt) > 256 - 50
    assert engine.prepare(talk[-3:], sampling, drop_oldest=True).dropped_turns == 0


def test_a_last_turn_that_is_too_long_is_refused_all_the_same(tmp_path):
    engine = Engine.load(write_model(tmp_path, context_length=64))
    talk = [Message(role="user", content="a"), Message(role="assistant", content="b")]
    with pytest.raises(PromptTooLong):
        engine.prepare([*talk, Message(role="user", content="word " * 500)], Sampling(), drop_oldest=True)
