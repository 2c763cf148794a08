"""The loss mask equals the mask that transformers computes from the same templates with generation marks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_models import Family
from training_code.chat_template import TemplateMismatch, tokenise
from training_code.model import load_tokenizer, stop_ids

MULTI_TURN = [
    {"role": "user", "content": "Where is the pump?"},
    {"role": "assistant", "content": "In the box, naïvely 🙂."},
    {"role": "user", "content": "And the lamp?"},
    {"role": "assistant", "content": "Behind it.\nPress the red button."},
]
WITH_SYSTEM = [{"role": "system", "content": "Be brief."}, *MULTI_TURN]
TWO_ANSWERS = [*MULTI_TURN[:2], {"role": "assistant", "content": "It is red."}]

# Each family's template again, marked by hand: the content and the end token, not the line break that follows.
MARKED = {
    "smollm2": "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}",
    "phi3": "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}{{ '\n' }}{% endfor %}{{ eos_token }}",
    "phi4": "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}{% endfor %}{{ eos_token }}",
}
FAMILIES = pytest.mark.parametrize("family", ["smollm2", "phi3", "phi4"])
CONVERSATIONS = pytest.mark.parametrize(
    "messages", [MULTI_TURN[:2], MULTI_TURN, WITH_SYSTEM, TWO_ANSWERS], ids=["one", "several", "system", "two answers"]
)


@pytest.fixture
def model(tiny: Callable[[Family], Path], family: Family) -> tuple[Any, set[int]]:
    tokenizer = load_tokenizer(tiny(family))
    return tokenizer, stop_ids(tiny(family), tokenizer)


@FAMILIES
@CONVERSATIONS
def test_the_tokens_are_those_of_the_chat_template(model: tuple[Any, set[int]], messages: list[dict[str, str]]):
    tokenizer, stops = model
    assert tokenise(tokenizer, messages, stops).ids == list(tokenizer.apply_chat_template(messages)["input_ids"])


@FAMILIES
@CONVERSATIONS
def test_every_answer_and_its_end_token_is_in_the_loss_and_nothing_else(
    model: tuple[Any, set[int]], family: Family, messages: list[dict[str, str]]
):
    tokenizer, stops = model
    judge = tokenizer.apply_chat_template(
        messages, chat_template=MARKED[family], return_dict=True, return_assistant_tokens_mask=True
    )
    row = tokenise(tokenizer, messages, stops)
    assert row.ids == list(judge["input_ids"])
    assert row.in_loss == [bool(i) for i in judge["assistant_masks"]]


@FAMILIES
def test_what_is_in_the_loss_reads_as_the_answers(model: tuple[Any, set[int]]):
    tokenizer, stops = model
    row = tokenise(tokenizer, MULTI_TURN, stops)
    learnt = tokenizer.decode([i for i, learn in zip(row.ids, row.in_loss, strict=True) if learn])
    end = "<|im_end|>" if "<|im_end|>" in learnt else "<|end|>"
    assert learnt == f"In the box, naïvely 🙂.{end}Behind it.\nPress the red button.{end}"


@FAMILIES
def test_the_first_token_in_the_loss_follows_exactly_what_is_shown_when_asked(model: tuple[Any, set[int]]):
    tokenizer, stops = model
    row = tokenise(tokenizer, MULTI_TURN, stops)
    asked = tokenizer.apply_chat_template(MULTI_TURN[:3], add_generation_prompt=True)["input_ids"]
    assert row.ids[: len(asked)] == list(asked)
    assert row.in_loss[len(asked)]
    assert not row.in_loss[len(asked) - 1]


@pytest.mark.parametrize("family", ["phi3"])
def test_an_end_token_that_does_not_stop_generation_is_refused(model: tuple[Any, set[int]]):
    tokenizer, _ = model
    with pytest.raises(TemplateMismatch, match=r"'<\|end\|>', which does not stop generation: add it to eos_token_id"):
        tokenise(tokenizer, MULTI_TURN, {tokenizer.convert_tokens_to_ids("<|endoftext|>")})


@pytest.mark.parametrize("family", ["smollm2"])
def test_a_template_that_rewrites_earlier_turns_is_refused(model: tuple[Any, set[int]]):
    tokenizer, stops = model
    tokenizer.chat_template = "{{ messages | length }}" + tokenizer.chat_template
    with pytest.raises(TemplateMismatch, match="renders the turns before turn 2 differently"):
        tokenise(tokenizer, MULTI_TURN, stops)


@pytest.mark.parametrize("family", ["smollm2"])
def test_a_template_without_an_end_token_is_refused(model: tuple[Any, set[int]]):
    tokenizer, stops = model
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}" + (
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    with pytest.raises(TemplateMismatch, match="no end token"):
        tokenise(tokenizer, MULTI_TURN, stops)


@pytest.mark.parametrize("family", ["smollm2"])
def test_an_answer_before_any_question_is_refused(model: tuple[Any, set[int]]):
    tokenizer, stops = model
    with pytest.raises(TemplateMismatch, match="turn 1 is an assistant turn"):
        tokenise(tokenizer, MULTI_TURN[1:], stops)


@FAMILIES
def test_an_answer_that_is_context_only_is_given_and_not_in_the_loss(model: tuple[Any, set[int]]):
    tokenizer, stops = model
    whole = tokenise(tokenizer, MULTI_TURN, stops)
    marked = tokenise(tokenizer, [MULTI_TURN[0], {**MULTI_TURN[1], "learn": False}, *MULTI_TURN[2:]], stops)
    given = tokenise(tokenizer, MULTI_TURN[:2], stops)

    assert marked.ids == whole.ids
    first_answer = sum(given.in_loss)
    places = [place for place, learned in enumerate(whole.in_loss) if learned]
    assert [place for place, learned in enumerate(marked.in_loss) if learned] == places[first_answer:]
