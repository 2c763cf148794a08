"""Reading splits and questions, and the error messages."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation_code.inputs import InputError, read_questions, read_test_rows, rows_unseen_by
from tests.support.tiny_world import chat, write_lines


def row(name: str, group: str, question: str = "Hi", reply: str = "Ho") -> dict[str, Any]:
    return {"id": name, "group": group, "messages": chat(question, reply)}


def test_a_split_is_read_in_order_and_blank_lines_are_passed_over(tmp_path: Path):
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps(row("a", "g")) + "\n\n" + json.dumps(row("b", "h")) + "\n")
    assert [(item.id, item.group) for item in read_test_rows(path)] == [("a", "g"), ("b", "h")]


def test_a_row_of_which_nothing_is_scored_is_refused(tmp_path: Path):
    value = row("a", "g")
    value["messages"][-1]["learn"] = False
    (tmp_path / "test.jsonl").write_text(json.dumps(value))
    with pytest.raises(InputError, match="nothing to score"):
        read_test_rows(tmp_path / "test.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a", "group"', "line 1: not JSON"),
        ("[1]", "line 1: a JSON list; expected an object"),
        (b"\xff{}", "line 1: not JSON"),
        (json.dumps({"id": "a", "group": "g", "messages": []}), '"messages" must be a list'),
        (json.dumps({"group": "g", "messages": chat("a", "b")}), '"id" must be a non-empty text'),
        (json.dumps({"id": "a", "group": 3, "messages": chat("a", "b")}), '"group" must be a non-empty text'),
        (json.dumps({"id": "a", "group": "g", "messages": chat("a", "")}), "no assistant turn with content"),
        (json.dumps({"id": "a", "group": "g", "messages": [{"role": "bot", "content": "x"}]}), "system, user or"),
        (json.dumps({"id": "a", "group": "g", "messages": [{"role": "user", "content": 3}]}), "must be a text"),
        (json.dumps(row("a", "g")) + "\n" + json.dumps(row("a", "h")), "line 2: id 'a' was used before"),
        ("", "holds no conversation"),
    ],
)
def test_a_broken_split_is_refused_with_its_line(tmp_path: Path, text: str | bytes, message: str):
    path = tmp_path / "test.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        read_test_rows(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"messages": chat("a", "b"), "answers": ["b"]}, "ends in a user turn"),
        ({"messages": chat("a", "b")[:1], "answers": []}, '"answers" must be a list'),
        ({"messages": chat("a", "b")[:1], "answers": "14"}, '"answers" must be a list'),
        ({"messages": chat("a", "b")[:1], "answers": ["14", ""]}, "any reply would match"),
        ({"messages": chat("a", "b")[:1], "answers": ["..."]}, "any reply would match"),
    ],
)
def test_a_question_that_cannot_be_judged_is_refused(tmp_path: Path, value: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        read_questions(write_lines(tmp_path / "questions.jsonl", [value]))


def test_no_file_and_an_empty_file_are_no_questions(tmp_path: Path):
    assert read_questions(None) == read_questions(write_lines(tmp_path / "questions.jsonl", [])) == []


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot read .*nowhere.jsonl: No such file"):
        read_questions(tmp_path / "nowhere.jsonl")


def test_what_the_champion_trained_on_is_left_out_by_id_by_group_and_by_text(tmp_path: Path):
    rows = [row("same id", "1"), row("b", "same group", "Hm"), row("c", "3", "equal", "text "), row("d", "4", "other")]
    test = read_test_rows(write_lines(tmp_path / "test.jsonl", rows))
    seen = [row("same id", "8", "x"), row("x", "same group", "y"), row("z", "9", "equal", "text")]
    left = rows_unseen_by(test, write_lines(tmp_path / "train.jsonl", seen))
    assert [item.id for item in left] == ["d"]
