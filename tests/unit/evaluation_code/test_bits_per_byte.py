"""Completion bits per byte against a computation by hand."""

import math
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest

from evaluation_code.bits_per_byte import batches, encode, score_conversations
from evaluation_code.inputs import InputError, Message
from serving_code.model_folder import load_model_folder
from tests.support.tiny_models import Family, make_tiny_phi3
from tests.support.tiny_world import chat

LONG: list[Message] = [
    *chat("What is the capital of France?", "Paris is."),
    *chat("And who wrote the manual?", "It was written by the engineers of the garden pump, in 12 minutes."),
    *chat("Where?", "In the bøx — 箱の中 🙂"),
]
CONVERSATIONS = [chat("How do I reset it?", "Press the button."), LONG, chat("Thanks", "You are welcome!"), LONG[:2]]


@pytest.fixture(scope="module", params=get_args(Family))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_tiny_phi3(tmp_path_factory.mktemp(request.param) / "model", family=request.param)
    return load_model_folder(folder, "float32")


def test_the_content_and_the_end_of_every_assistant_turn_are_scored_and_nothing_else(loaded: Any):
    encoded = encode(loaded.tokenizer, LONG, loaded.end_ids)
    kept = loaded.tokenizer.decode([encoded.ids[place] for place in encoded.scored])
    end = next(token for token in ("<|im_end|>", "<|end|>") if token in kept)
    assert kept == "".join(message["content"] + end for message in LONG if message["role"] == "assistant")
    assert encoded.content_bytes == sum(len(turn["content"].encode()) for turn in LONG if turn["role"] == "assistant")


def test_an_answer_that_is_context_only_is_not_scored(loaded: Any):
    first, whole = (encode(loaded.tokenizer, turns, loaded.end_ids) for turns in (LONG[:2], LONG))
    marked = encode(loaded.tokenizer, [LONG[0], {**LONG[1], "learn": False}, *LONG[2:]], loaded.end_ids)
    assert marked.ids == whole.ids
    assert marked.scored == whole.scored[len(first.scored) :]
    assert marked.content_bytes == whole.content_bytes - first.content_bytes


@pytest.mark.parametrize("content", [" Press it. ", "Press it.\n\n", "\n- Press\n- it"])
def test_white_space_around_the_content_does_not_hide_its_end(loaded: Any, content: str):
    encoded = encode(loaded.tokenizer, chat("How?", content), loaded.end_ids)
    kept = loaded.tokenizer.decode([encoded.ids[place] for place in encoded.scored])
    assert kept in {content + "<|im_end|>", content + "<|end|>"}


def test_the_tokens_are_those_that_the_chat_template_gives(loaded: Any):
    expected = loaded.tokenizer.apply_chat_template(LONG, tokenize=True, return_dict=True)["input_ids"]
    assert list(encode(loaded.tokenizer, LONG).ids) == expected


def test_bits_are_the_log_probabilities_added_up_by_hand(loaded: Any):
    import torch

    encoded = encode(loaded.tokenizer, LONG, loaded.end_ids)
    with torch.no_grad():
        probabilities = torch.softmax(loaded.model(torch.tensor([encoded.ids])).logits[0].double(), dim=-1)
    expected = -sum(math.log2(probabilities[place - 1, encoded.ids[place]]) for place in encoded.scored)
    (score,) = score_conversations(loaded, [LONG], batch_size=1)
    assert score is not None
    assert score.bits == pytest.approx(expected, rel=1e-5)
    assert score.tokens == len(encoded.scored)


def test_neither_padding_nor_the_batch_changes_a_score(loaded: Any):
    alone = [score_conversations(loaded, [row], batch_size=1)[0] for row in CONVERSATIONS]
    together = score_conversations(loaded, CONVERSATIONS, batch_size=4)
    backwards = score_conversations(loaded, CONVERSATIONS[::-1], batch_size=3)[::-1]
    for one, two, three in zip(alone, together, backwards, strict=True):
        assert one is not None
        assert two is not None
        assert three is not None
        assert one.bits == pytest.approx(two.bits, rel=1e-5) == pytest.approx(three.bits, rel=1e-5)


def test_a_conversation_that_is_longer_than_the_context_has_no_score(tmp_path: Path):
    loaded = load_model_folder(make_tiny_phi3(tmp_path / "model", context_length=64), "float32")
    scores = score_conversations(loaded, [chat("Hi", "Ho"), chat("Hi", "pump " * 200)], batch_size=2)
    assert scores[0] is not None
    assert scores[1] is None


def test_a_model_with_broken_weights_scores_not_a_number(tiny_model: Path):
    import torch

    loaded = load_model_folder(tiny_model, "float32")
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[:] = float("nan")
    (score,) = score_conversations(loaded, [LONG], batch_size=1)
    assert score is not None
    assert math.isnan(score.bits)


def test_a_template_that_hides_the_answer_is_refused(tiny_model: Path, tmp_path: Path):
    shutil.copytree(tiny_model, tmp_path / "model")
    template = (
        "{% for m in messages %}{{ m['role'] }}\n-{% endfor %}{% if add_generation_prompt %}assistant\n{% endif %}"
    )
    (tmp_path / "model" / "chat_template.jinja").write_text(template)
    loaded = load_model_folder(tmp_path / "model", "float32")
    with pytest.raises(InputError, match="does not show the content of assistant turn 2"):
        encode(loaded.tokenizer, chat("Hi", "Hello"))


def test_a_template_that_rewrites_the_past_is_refused(tiny_model: Path, tmp_path: Path):
    shutil.copytree(tiny_model, tmp_path / "model")
    template = "{{ messages | length }} {% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}{% endfor %}"
    (tmp_path / "model" / "chat_template.jinja").write_text(template)
    loaded = load_model_folder(tmp_path / "model", "float32")
    with pytest.raises(InputError, match="differently once it is answered"):
        encode(loaded.tokenizer, chat("Hi", "Hello"))


def test_every_row_is_in_one_batch_which_keeps_to_both_limits():
    lengths = [5, 90, 40, 40, 7, 300, 60, 1]
    found = batches(lengths, batch_size=3, max_tokens=200)
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    assert found[0] == [5]  # longer than the limit by itself: alone, not left out
    assert all(len(batch) <= 3 for batch in found)
    assert all(max(lengths[place] for place in batch) * len(batch) <= 200 for batch in found[1:])
