import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.conversations.grouping import Placed
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.own_splits import side_of_file, side_of_row
from phi_assets.conversations.prepare import Prepared, prepare
from tests.support.conversations import distinct, scan_file


def numbers(prepared: Prepared, side: Any) -> set[str]:
    return {row.conversation[0].content for row in prepared.split.rows[side]}


def asked(*places: int) -> set[str]:
    return {distinct(number)["messages"][0]["content"] for number in places}


def write(folder: Path, **files: range) -> Path:
    folder.mkdir()
    for name, places in files.items():
        lines = "".join(json.dumps(distinct(number)) + "\n" for number in places)
        (folder / f"{name}.jsonl").write_text(lines)
    return folder


def prepare_folder(folder: Path, **options: Any) -> Prepared:
    return prepare(scan_file(folder), CleaningOptions(**options), {})


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("train.jsonl", "train"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("dev_set.json", "validation"),
        ("train_sft/data-00000-of-00002.arrow", "train"),
        ("my.val.csv", "validation"),
        ("test/train.jsonl", "train"),
        ("latest.jsonl", None),
        ("contest.jsonl", None),
        ("trainers.jsonl", None),
        ("chats.jsonl", None),
    ],
)
def test_the_name_of_a_file_or_folder_says_its_split(name: str, side: str | None):
    assert side_of_file(name) == side


@pytest.mark.parametrize(
    ("value", "side"), [("train", "train"), ("TEST", "test"), ("test_sft", "test"), ("other", None), (3, None)]
)
def test_a_column_says_the_split_of_its_row(value: Any, side: str | None):
    assert side_of_row({"split": value}) == side


def test_files_of_three_splits_stay_as_they_are(tmp_path: Path):
    done = prepare_folder(write(tmp_path / "own", train=range(60), validation=range(60, 65), test=range(65, 95)))
    assert numbers(done, "train") == asked(*range(60))
    assert numbers(done, "validation") == asked(*range(60, 65))
    assert numbers(done, "test") == asked(*range(65, 95))
    assert done.facts["own_splits"] == {"train": 60, "validation": 5, "test": 30}


def test_only_a_missing_split_is_drawn_and_only_from_training(tmp_path: Path):
    done = prepare_folder(write(tmp_path / "own", train=range(90), test=range(90, 93)))
    assert numbers(done, "test") == asked(90, 91, 92)
    assert len(numbers(done, "validation")) == 9
    assert numbers(done, "validation") <= asked(*range(90))


def test_the_splits_can_be_drawn_anew(tmp_path: Path):
    done = prepare_folder(write(tmp_path / "own", train=range(90), test=range(90, 93)), own_splits="redraw")
    assert len(numbers(done, "test")) == 9
    assert done.facts["own_splits"] == {}


@pytest.mark.parametrize(
    "files", [{"train": range(40)}, {"test": range(40)}, {"test": range(20), "more": range(20, 40)}]
)
def test_names_that_are_no_splits_of_one_dataset_decide_nothing(tmp_path: Path, files: dict[str, range]):
    done = prepare_folder(write(tmp_path / "own", **files))
    assert done.facts["own_splits"] == {}
    assert done.split.counts() == {"train": 32, "validation": 4, "test": 4}


def test_a_column_of_splits_is_respected_and_counts_as_used(prepared: Callable[..., Prepared]):
    rows = [{**distinct(number), "split": "test" if number < 7 else "train"} for number in range(50)]
    done = prepared(rows)
    assert numbers(done, "test") == asked(*range(7))
    assert "split" not in done.facts["unused_keys"]


def test_a_published_row_keeps_its_place_against_its_own_split(tmp_path: Path):
    first = prepare_folder(write(tmp_path / "first", chats=range(40)))
    keep = {row.id: Placed(side, row.group) for side, rows in first.split.rows.items() for row in rows}

    folder = write(tmp_path / "own", train=range(40, 80), test=range(40))
    done = prepare(scan_file(folder), CleaningOptions(), keep)
    assert numbers(done, "train") >= numbers(first, "train")
    assert numbers(done, "test") == numbers(first, "test")


def test_near_duplicates_of_one_split_are_one_group_and_across_splits_there_is_a_warning(tmp_path: Path):
    folder = write(tmp_path / "own", train=range(60), test=range(60, 90), validation=range(90, 110))
    near = json.loads(json.dumps(distinct(61)))
    near["messages"][1]["content"] += " Yes."
    across = json.loads(json.dumps(distinct(62)))
    across["messages"][1]["content"] += " Yes."
    for name, row in (("test", near), ("train", across)):
        with (folder / f"{name}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
    done = prepare_folder(folder, near_duplicate_threshold=0.7)
    assert done.split.counts() == {"train": 61, "validation": 20, "test": 31}
    assert done.split.groups() == {"train": 61, "validation": 20, "test": 30}
    assert any(warning.startswith("1 groups of near duplicates are in two splits") for warning in done.split.warnings)
