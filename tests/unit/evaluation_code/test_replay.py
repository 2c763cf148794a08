"""The program that writes a replay set."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evaluation_code.replay import main
from tests.support.tiny_world import chat, general_pairs, write_lines
from tests.unit.evaluation_code.conftest import World


def prompts(path: Path, count: int = 40, first: int = 0) -> Path:
    rows = [{"messages": chat(f"What of mountain number {n}?", "")[:1]} for n in range(first, first + count)]
    return write_lines(path, rows)


def run(world: World, out: Path, *more: str) -> int:
    return main(["--base", str(world.base), "--output_dir", str(out), "--general", str(world.general), *more])


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "replay.jsonl").read_text(encoding="utf-8").splitlines()]


def report_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "replay.json").read_text(encoding="utf-8"))


def test_the_base_answers_prompts_and_the_same_again(world: World, tmp_path: Path):
    given = ["--sources", str(prompts(tmp_path / "prompts.jsonl")), "--conversations", "10"]
    assert run(world, tmp_path / "one", *given) == 0
    assert run(world, tmp_path / "two", *given) == 0

    rows = rows_of(tmp_path / "one")
    (source,) = report_of(tmp_path / "one")["sources"]
    assert len(rows) == source["kept"] == source["answered_by_base"] <= 10
    assert rows
    assert all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in rows)
    assert (tmp_path / "one" / "replay.jsonl").read_bytes() == (tmp_path / "two" / "replay.jsonl").read_bytes()


def test_what_shares_an_answer_is_left_out_and_counted(world: World, tmp_path: Path):
    shared = [{"messages": chat("Tell me a word.", f"It is {answer}.")} for _, _, answer in general_pairs()[:4]]
    own = [{"messages": chat("Tell me a number.", f"It is {n}.")} for n in range(4)]
    asked = [{"messages": chat(question, "I forgot.")} for question, _, _ in general_pairs()[:2]]
    file = write_lines(tmp_path / "own.jsonl", [*shared, *own, *asked])

    assert run(world, tmp_path / "out", "--sources", str(file)) == 0

    assert sorted(row["messages"][1]["content"] for row in rows_of(tmp_path / "out")) == [
        f"It is {n}." for n in range(4)
    ]
    (source,) = report_of(tmp_path / "out")["sources"]
    assert source["left_out"] == {"asks a question": 2, "holds an answer": 4}
    assert source["answered_by_base"] == 0


def test_sources_share_the_set_by_their_weights(world: World, tmp_path: Path):
    one = write_lines(tmp_path / "one.jsonl", [{"messages": chat(f"a{n}", f"b{n}")} for n in range(50)])
    two = write_lines(tmp_path / "two.jsonl", [{"messages": chat(f"c{n}", f"d{n}")} for n in range(50)])

    assert run(world, tmp_path / "out", "--sources", f"{one}=3", str(two), "--conversations", "40") == 0

    assert Counter(row["source"] for row in rows_of(tmp_path / "out")) == {"one.jsonl": 30, "two.jsonl": 10}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no conversation"),
        ("[1]\n", "line 1: a JSON list; expected an object"),
        ('{"messages": [{"role": "user", "content": 5}]}\n', "line 1: the content of a message must be a text"),
        ('{"messages": [{"role": "user", "content": "capital of"}]}\n{broken', "line 2: not JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
):
    file = tmp_path / "bad.jsonl"
    file.write_text(text, encoding="utf-8")
    assert run(world, tmp_path / "out", "--sources", str(file)) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out" / "replay.json").exists()


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "much"])
def test_a_weight_that_is_no_weight_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], weight: str
):
    assert run(world, tmp_path / "out", "--sources", f"{prompts(tmp_path / 'p.jsonl')}={weight}") == 2
    assert "must be a number above 0" in capsys.readouterr().err


def test_an_empty_set_says_why(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{"messages": chat(question, reply)} for question, reply, _ in general_pairs()]
    assert run(world, tmp_path / "out", "--sources", str(write_lines(tmp_path / "all.jsonl", rows))) == 0
    assert "left out 28 (asks a question)" in capsys.readouterr().out
    assert report_of(tmp_path / "out")["conversations"] == len(rows_of(tmp_path / "out")) == 0
