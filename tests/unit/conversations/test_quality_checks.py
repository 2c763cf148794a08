import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.backends.dataset_versions import DatasetFolders
from phi_assets.conversations.prepare import Prepared
from phi_assets.conversations.quality_checks import (
    check_broken_share,
    check_control_tokens,
    check_duplicates,
    check_leakage,
    check_minimum_rows,
    check_schema,
    check_token_length,
    examine,
    fits,
)
from tests.support.conversations import distinct
from tests.support.tiny_models import make_tiny_phi3

Row = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path, prepared: Callable[..., Prepared]) -> Path:
    """A published dataset of fifty conversations, four rows of the source being broken; its files may be changed."""
    done = prepared([distinct(number) for number in range(50)] + [b"{"] * 4)
    version = DatasetFolders(tmp_path / "store").publish(done.split.rows, done.quarantine, done.facts)
    for path in version.folder.iterdir():
        path.chmod(0o644)
    return version.folder


def rewrite(folder: Path, side: str, change: Callable[[list[Row]], list[Row]]) -> None:
    path = folder / f"{side}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def first(folder: Path, side: str) -> Row:
    return json.loads((folder / f"{side}.jsonl").read_text().splitlines()[0])


def test_a_published_dataset_passes_everything(folder: Path):
    found = examine(folder, min_rows=20, max_broken_share=0.2)
    assert list(found) == [
        "schema",
        "no_leakage_between_splits",
        "no_exact_duplicates",
        "minimum_rows",
        "few_broken_rows",
    ]
    assert all(verdict.passed for verdict in found.values()), found
    assert found["schema"].numbers == {"rows": 50, "faults": 0}


@pytest.mark.parametrize(
    "damage",
    [
        lambda row: row.pop("group"),
        lambda row: row.update(extra=1),
        lambda row: row.update(group=""),
        lambda row: row.update(id="0" * 16),
        lambda row: row.update(messages=[]),
        lambda row: row["messages"].pop(),
        lambda row: row["messages"].reverse(),
        lambda row: row["messages"][0].update(content=" "),
        lambda row: row["messages"][0].update(content=None),
        lambda row: row["messages"][0].update(name="x"),
    ],
)
def test_a_row_of_another_shape_fails_the_schema_by_file_and_line(folder: Path, damage: Callable[[Row], Any]):
    def change(rows: list[Row]) -> list[Row]:
        damage(rows[2])
        return rows

    rewrite(folder, "test", change)
    verdict = check_schema(folder)
    assert not verdict.passed
    assert "test.jsonl, line 3" in verdict.description
    assert verdict.numbers["faults"] == 1


def test_a_line_that_is_not_json_or_a_missing_file_fails_the_schema_and_leaves_the_rest_undecided(folder: Path):
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"id": \n')
    (folder / "test.jsonl").unlink()
    found = examine(folder, min_rows=1, max_broken_share=1)
    assert not any(verdict.passed for verdict in found.values())
    assert "train.jsonl, line 41" in found["schema"].description
    assert found["schema"].numbers["faults"] == 2


def test_a_row_in_two_splits_is_leakage_and_a_duplicate(folder: Path):
    copied = first(folder, "train")
    rewrite(folder, "test", lambda rows: [*rows, copied])
    assert check_leakage(folder).numbers == {"ids": 1, "groups": 1}
    assert not check_leakage(folder).passed
    assert check_duplicates(folder).numbers == {"duplicates": 1}
    assert not check_duplicates(folder).passed


def test_a_group_in_two_splits_is_leakage(folder: Path):
    name = first(folder, "train")["group"]
    rewrite(folder, "test", lambda rows: [{**rows[0], "group": name}, *rows[1:]])
    assert not check_leakage(folder).passed
    assert check_leakage(folder).numbers == {"ids": 0, "groups": 1}


def test_duplicates_are_seen_in_the_text_whatever_the_ids_say(folder: Path):
    def change(rows: list[Row]) -> list[Row]:
        loud = [{**message, "content": message["content"].upper()} for message in rows[0]["messages"]]
        return [*rows, {"id": "f" * 16, "group": "f", "messages": loud}]

    rewrite(folder, "train", change)
    assert not check_duplicates(folder).passed


def test_the_minimum_counts_all_splits_and_needs_some_training(folder: Path):
    assert check_minimum_rows(folder, 50).passed
    assert not check_minimum_rows(folder, 51).passed
    assert check_minimum_rows(folder, 51).description == (
        "50 conversations, 40 for training; at least 51 are needed. 4 rows were dropped as truncated_json"
    )
    rewrite(folder, "train", lambda rows: [])
    assert not check_minimum_rows(folder, 1).passed


def test_the_share_of_broken_rows_is_held_against_the_limit(folder: Path):
    assert check_broken_share(folder, 4 / 54).passed
    verdict = check_broken_share(folder, 0.05)
    assert not verdict.passed
    assert verdict.numbers == {"broken": 4, "rows_read": 54, "share": 4 / 54, "maximum": 0.05, "bad_files": 0}
    assert "4 of 54 rows read are broken (7.4%)" in verdict.description
    assert "4 rows were dropped as truncated_json" in verdict.description


def test_the_share_that_fits_is_held_against_the_limit(folder: Path):
    def words(messages: list[dict[str, str]]) -> int:
        return sum(len(message["content"].split()) for message in messages)

    verdict = check_token_length(folder, words, max_length=14)
    assert verdict.passed
    assert verdict.numbers["longest"] == 14
    assert verdict.numbers["train_tokens"] == 40 * 14
    refused = check_token_length(folder, words, max_length=13, limit="max_length of preset laptop")
    assert not refused.passed
    for name in ("max_length of preset laptop", "PHI_MIN_FITTING_SHARE", "PHI_LONG_CONVERSATIONS", "PHI_PRESET"):
        assert name in refused.description
    assert check_token_length(folder, words, max_length=13, minimum_share=0).passed


def test_a_control_token_of_the_base_model_fails_with_the_setting_that_leaves_it_out(folder: Path):
    def change(rows: list[Row]) -> list[Row]:
        rows[0]["messages"][0]["content"] = "It was <s>40</s> 30 crowns."
        return rows

    rewrite(folder, "test", change)
    assert check_control_tokens(folder, ["<|im_end|>", "<unk>"]).passed
    refused = check_control_tokens(folder, ["<|im_end|>", "<s>", "</s>"])
    assert not refused.passed
    assert refused.numbers == {"rows": 1}
    assert "PHI_TEMPLATE_TOKENS=" in refused.description
    assert "<s>" in refused.description


@pytest.mark.integration
def test_tokens_are_counted_with_the_template_and_tokenizer_of_the_model(folder: Path, tmp_path: Path):
    from transformers import AutoTokenizer

    model = make_tiny_phi3(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(str(model))
    longest = max(
        len(tokenizer.apply_chat_template(json.loads(line)["messages"], return_dict=True)["input_ids"])
        for side in ("train", "validation", "test")
        for line in (folder / f"{side}.jsonl").read_text().splitlines()
    )
    assert fits(folder, model, max_length=longest).numbers["longest"] == longest
    assert fits(folder, model, max_length=longest).passed
    assert not fits(folder, model, max_length=longest - 1, minimum_share=1.0).passed
