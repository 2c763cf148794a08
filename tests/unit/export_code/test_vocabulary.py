import json
from pathlib import Path
from typing import Any

import pytest

from export_code.errors import CannotExport
from export_code.vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, vocabulary_of


def tokenizer_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))


def test_each_token_has_its_type(models: Path):
    tokenizer = tokenizer_of(models / "phi35-mini")
    found = vocabulary_of(tokenizer, 600, "here")
    kinds = dict(zip(found.tokens, found.types, strict=True))

    assert (found.kind, found.pre_tokenizer, found.space_before) == ("llama", "default", True)
    assert (kinds["<unk>"], kinds["<|end|>"], kinds["</s>"]) == (UNKNOWN, CONTROL, USER_DEFINED)
    assert (kinds["<0x0A>"], kinds["\u2581the"], kinds["[PAD599]"]) == (BYTE, NORMAL, UNUSED)


def test_scores_follow_the_order_of_the_merges(models: Path):
    tokenizer = tokenizer_of(models / "phi35-mini")
    found = vocabulary_of(tokenizer, 600, "here")
    score = dict(zip(found.tokens, found.scores, strict=True))
    merged = ["".join(merge) for merge in tokenizer["model"]["merges"]]

    assert [score[token] for token in dict.fromkeys(merged)] == sorted({score[token] for token in merged}, reverse=True)


def test_a_tokenizer_that_merges_in_fewer_ways_than_sentencepiece_is_refused(models: Path):
    tokenizer = tokenizer_of(models / "phi35-mini")
    merges = tokenizer["model"]["merges"]
    made = ["".join(merge) for merge in merges]
    twice = next(at for at, token in enumerate(made) if made.count(token) > 1)
    del merges[twice]

    with pytest.raises(CannotExport, match="fewer ways"):
        vocabulary_of(tokenizer, 600, "here")


@pytest.mark.parametrize(
    ("name", "expected"), [("phi4-mini", "gpt-2"), ("phi4-mini, gpt-4o", "gpt-4o"), ("phi4-mini, smollm", "smollm")]
)
def test_the_way_to_split_has_llama_cpp_s_name(models: Path, name: str, expected: str):
    assert vocabulary_of(tokenizer_of(models / name), 519, "here").pre_tokenizer == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "splits text by Whitespace"),
        ({"pre_tokenizer": None}, "splits text by nothing"),
        ({"normalizer": {"type": "NFC"}}, "splits text"),
        ({"model": {"type": "Unigram"}}, "Unigram"),
    ],
)
def test_what_llama_cpp_would_not_reproduce_is_refused(models: Path, changes: dict[str, Any], reason: str):
    with pytest.raises(CannotExport, match=reason):
        vocabulary_of({**tokenizer_of(models / "phi4-mini"), **changes}, 519, "here")
