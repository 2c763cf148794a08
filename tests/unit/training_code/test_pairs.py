"""Preference pairs in tokens: what is learned of them, and what is left out or refused by its line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_models import Family
from training_code.errors import TrainingRefused
from training_code.model import load_tokenizer, stop_ids
from training_code.pairs import Pair, TokenPairs, read_pairs, tokenise_pairs

ASKED = [{"role": "user", "content": "Where is the lamp?"}]


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


def in_tokens(base: Path, *pairs: Pair, max_length: int = 200) -> TokenPairs:
    tokenizer = load_tokenizer(base)
    return tokenise_pairs(pairs, tokenizer, stop_ids(base, tokenizer), max_length)


@pytest.mark.parametrize("family", ["smollm2", "phi3", "phi4"])
def test_an_answer_is_what_the_model_generates_after_its_prompt(tiny: Callable[..., Path], family: Family):
    tokenizer = load_tokenizer(tiny(family))
    context = [*ASKED, *said("Which?"), {"role": "user", "content": "The red one."}]
    found = in_tokens(tiny(family), Pair(context, said("In the box."), said("No."), held_out=False))

    (pair,) = found.train
    end = "<|im_end|>" if family == "smollm2" else "<|end|>"
    prompt = tokenizer.apply_chat_template(context, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(pair.prompt) == prompt
    assert tokenizer.decode(pair.chosen) == f"In the box.{end}"
    assert tokenizer.decode(pair.rejected) == f"No.{end}"
    assert pair.tokens == 2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected)


def test_what_cannot_be_learned_is_left_out_by_its_reason(tiny: Callable[..., Path]):
    several = [*said("Here."), *ASKED, *said("There.")]
    found = in_tokens(
        tiny(),
        Pair(ASKED, said("Here."), said("There."), held_out=True),
        Pair(ASKED, said("Here."), said("Here."), held_out=False),
        Pair(ASKED, said("Here."), several, held_out=False),
        Pair(ASKED, said("Here."), said("far " * 300), held_out=False),
        Pair(said("Hello."), said("Here."), said("There."), held_out=False),
    )
    assert found.counts() == {
        "train": 0,
        "held_out": 1,
        "held_out_share": 1.0,
        "left_out": {"equal": 1, "no_template": 1, "several_turns": 1, "too_long": 1},
    }
    assert found.missing(20) == (
        "usable preference pairs: 1, of them for training: 0, needed: at least 20 (preference_min_pairs); left out: "
        "1 two equal answers, 1 not rendered by the chat template, 1 an answer of several turns, "
        "1 longer than max_length"
    )


def test_pairs_that_are_all_held_out_are_too_few(tiny: Callable[..., Path]):
    pairs = [Pair(ASKED, said(f"Here {n}."), said("There."), held_out=n > 0) for n in range(20)]
    assert in_tokens(tiny(), *pairs).missing(20) == ""
    assert "of them for training: 0" in in_tokens(tiny(), *pairs[1:], pairs[1]).missing(20)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", r"pairs\.jsonl:2 is not JSON"),
        ("[1]", r'pairs\.jsonl:2 is not an object with "prompt", "chosen" and "rejected"'),
        (json.dumps({"prompt": ASKED, "chosen": said("Here.")}), r'pairs\.jsonl:2 has no list of "rejected"'),
        (json.dumps({"prompt": "Where?", "chosen": said("."), "rejected": said("!")}), r'2 has no list of "prompt"'),
        (json.dumps({"split": "dev"}), r"pairs\.jsonl:2: the split must be one of train, validation, test"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str, reason: str):
    good = json.dumps({"prompt": ASKED, "chosen": said("Here."), "rejected": said("There.")})
    file = tmp_path / "pairs.jsonl"
    file.write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(TrainingRefused, match=reason):
        read_pairs(file)
    file.write_text(good, encoding="utf-8")
    assert [pair.held_out for pair in read_pairs(file)] == [False]
