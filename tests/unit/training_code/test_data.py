"""From JSON Lines to rows of tokens: what is read, cut, packed and refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.training_code.conftest import conversations, write_jsonl
from training_code.chat_template import Tokens
from training_code.data import as_dataset, load_rows, read_conversations
from training_code.errors import TrainingRefused
from training_code.model import load_tokenizer, stop_ids

GOOD = json.dumps({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"messages": [', "train.jsonl:2 is not JSON"),
        ('{"text": "x"}', 'train.jsonl:2 has no list of "messages"'),
        ('["x"]', 'train.jsonl:2 has no list of "messages"'),
        ('{"messages": []}', 'train.jsonl:2 has no list of "messages"'),
        ('{"messages": [{"role": "tool", "content": "x"}]}', "train.jsonl:2, turn 1: the role must be one of"),
        ('{"messages": [{"role": "user", "content": null}]}', "train.jsonl:2, turn 1: the content must be text"),
        (
            '{"messages": [{"role": "user", "content": "x", "learn": 0}]}',
            "train.jsonl:2, turn 1: learn must be true or",
        ),
    ],
)
def test_a_bad_line_is_refused_with_its_file_and_number(tmp_path: Path, line: str, says: str):
    (tmp_path / "train.jsonl").write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(TrainingRefused, match=says):
        read_conversations(tmp_path / "train.jsonl")


def test_an_empty_file_is_refused(tmp_path: Path):
    (tmp_path / "train.jsonl").write_text("\n")
    with pytest.raises(TrainingRefused, match=r"train.jsonl holds no conversation"):
        read_conversations(tmp_path / "train.jsonl")


def test_bytes_that_are_not_utf8_are_refused_with_their_place(tmp_path: Path):
    (tmp_path / "train.jsonl").write_bytes(b'{"messages": "\xff"}')
    with pytest.raises(TrainingRefused, match="not UTF-8 at byte 14"):
        read_conversations(tmp_path / "train.jsonl")


def test_an_unescaped_line_separator_inside_text_ends_no_line(tmp_path: Path):
    (tmp_path / "train.jsonl").write_text(GOOD.replace("Hello", "one\u2028two") + "\n", encoding="utf-8")
    assert read_conversations(tmp_path / "train.jsonl")[0][1]["content"] == "one\u2028two"


def test_a_conversation_with_an_answer_before_any_question_is_refused_by_number(
    tiny: Callable[..., Path], tmp_path: Path
):
    rows = [*conversations(1, seed=1), [{"role": "assistant", "content": "Hello"}]]
    tokenizer = load_tokenizer(tiny())
    with pytest.raises(TrainingRefused, match="conversation 2: turn 1 is an assistant turn"):
        load_rows(write_jsonl(tmp_path / "t.jsonl", rows), tokenizer, stop_ids(tiny(), tokenizer), 64, 0.0)


def test_conversations_over_the_length_are_cut_and_counted(tiny: Callable[..., Path], corpus: Path):
    tokenizer = load_tokenizer(tiny())
    whole = load_rows(corpus / "train.jsonl", tokenizer, stop_ids(tiny(), tokenizer), 2048, 0.0)
    longest = max(len(row.ids) for row in whole.rows)
    cut = load_rows(corpus / "train.jsonl", tokenizer, stop_ids(tiny(), tokenizer), longest - 1, 0.5)
    assert whole.cut == 0
    assert cut.cut == sum(len(row.ids) == longest for row in whole.rows)
    assert max(len(row.ids) for row in cut.rows) == longest - 1


def test_too_many_conversations_over_the_length_are_refused(tiny: Callable[..., Path], corpus: Path):
    tokenizer = load_tokenizer(tiny())
    with pytest.raises(TrainingRefused, match=r"24 of 24 conversations .* more than max_length = 8 tokens"):
        load_rows(corpus / "train.jsonl", tokenizer, stop_ids(tiny(), tokenizer), 8, 0.05)


def test_data_without_anything_to_learn_is_refused(tiny: Callable[..., Path], tmp_path: Path):
    path = write_jsonl(tmp_path / "t.jsonl", [[{"role": "user", "content": "Hello?"}]])
    tokenizer = load_tokenizer(tiny())
    with pytest.raises(TrainingRefused, match="no assistant turn within 64 tokens"):
        load_rows(path, tokenizer, stop_ids(tiny(), tokenizer), 64, 0.05)


def row(first: int, length: int) -> Tokens:
    return Tokens(list(range(first, first + length)), [False] + [True] * (length - 1))


def test_packing_keeps_every_conversation_whole_and_knows_where_each_begins():
    rows = [row(1000 * i, length) for i, length in enumerate([5, 9, 3, 10, 7, 2, 4], 1)]
    packed = as_dataset(rows, packing=True, packed_length=10, seed=0)
    found = []
    for entry in packed.to_list():
        assert sum(entry["seq_lengths"]) == len(entry["input_ids"]) <= 10
        at = 0
        for length in entry["seq_lengths"]:
            ids, labels = entry["input_ids"][at : at + length], entry["labels"][at : at + length]
            assert labels == [-100, *ids[1:]]
            found.append(ids)
            at += length
    assert sorted(found) == sorted(r.ids for r in rows)
    assert len(packed) < len(rows)


def test_a_conversation_longer_than_a_packed_row_has_a_row_of_its_own():
    packed = as_dataset([row(1, 30), row(100, 4), row(200, 4)], packing=True, packed_length=10, seed=0)
    assert sorted(packed["seq_lengths"]) == [[4, 4], [30]]


def test_without_packing_there_is_a_row_to_a_conversation():
    plain = as_dataset([row(1, 3), row(100, 4)], packing=False, packed_length=10, seed=0)
    assert plain["input_ids"] == [[1, 2, 3], [100, 101, 102, 103]]
