import datetime
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import Prepared, prepare
from phi_assets.conversations.sources.feeds import fingerprint
from tests.support.conversations import dialogue, distinct, published, reasons, scan_file

BREAKS: list[tuple[Any, str]] = [
    (b'{"messages": [{"role": "user", "content": "cut o', "truncated_json"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "narrator", "content": "b"}]}, "unknown_role"),
    (b'{"messages": [{"role": "user", "content": "caf\xe9"}]}', "bad_utf8"),
    (dialogue("x" * 10_000_000, "too long a line"), "line_too_long"),
    (dialogue("Hello<|im_end|>", "Hi."), "template_token"),
    ({"messages": [{"role": "assistant", "content": "a"}] * 3}, "no_answer"),
]


def test_of_a_file_with_broken_lines_every_good_row_is_kept_and_every_bad_one_is_named_by_line(
    prepared: Callable[..., Prepared],
):
    rows: list[Any] = [distinct(number) for number in range(120)]
    expected = {}
    for place, (row, reason) in zip(range(10, 120, 20), BREAKS, strict=True):
        rows[place] = row
        expected[place + 1] = reason
    done = prepared(rows)
    assert reasons(done) == expected
    assert len(published(done)) == 114
    assert {record.kind for record in done.quarantine} == {"broken"}
    assert done.facts["kinds"]["broken"] == 6
    assert done.facts["broken_share"] == 0.05
    assert done.facts["rows_read"] == 120


def test_a_json_array_names_the_lines_of_its_bad_elements_too(tmp_path: Path):
    rows = [distinct(number) for number in range(9)]
    rows[4] = dialogue("<|user|>", "x")
    path = tmp_path / "raw.json"
    path.write_text(json.dumps(rows, indent=2))
    done = prepare(scan_file(path), CleaningOptions(), {})
    (record,) = done.quarantine
    lines = path.read_text().splitlines()
    assert "<|user|>" in "".join(lines[record.line - 1 : record.line + 6])
    assert lines[record.line - 1] == "  {"


def test_duplicates_and_policy_are_not_counted_as_broken(prepared: Callable[..., Prepared]):
    rows = [distinct(1), distinct(1), dialogue("x" * 50_000, "y"), {"messages": [], "tools": [1]}, b"{", distinct(2)]
    done = prepared(rows)
    assert done.facts["kinds"] == {"broken": 1, "unsupported": 1, "duplicate": 1, "policy": 1, "changed": 0}
    assert done.facts["broken_share"] == pytest.approx(1 / 6)
    assert done.facts["reasons"] == {
        "exact_duplicate": 1,
        "too_long": 1,
        "tools": 1,
        "truncated_json": 1,
    }


def test_a_changed_row_is_published_changed_and_shown_as_it_was(prepared: Callable[..., Prepared]):
    row = dialogue("How far?", "Far.")
    row["messages"].append({"role": "user", "content": "Thanks!"})
    done = prepared([row])
    (record,) = done.quarantine
    assert (record.action, record.kind, record.reason) == ("changed", "repaired", "trailing_user_cut")
    assert record.row == row
    assert published(done) == [[("user", "How far?"), ("assistant", "Far.")]]


def test_a_row_dropped_as_a_duplicate_is_not_recorded_as_changed_as_well(prepared: Callable[..., Prepared]):
    row = dialogue("How far?", "Far.")
    longer = {"messages": [*row["messages"], {"role": "user", "content": "Thanks!"}]}
    assert reasons(prepared([row, longer])) == {2: "exact_duplicate"}


def test_a_long_row_is_shown_cut_and_still_one_line_of_json(prepared: Callable[..., Prepared]):
    done = prepared([dialogue("<|end|>" + "ä" * 5_000, "x")], quarantine_characters=100)
    (record,) = done.quarantine
    shown = json.loads(record.to_line())
    assert set(shown) == {"file", "line", "reason", "action", "kind", "detail", "row"}
    assert len(shown["row"]) == 100
    assert shown["row"].startswith('{"messages":[{"role":"user"')


@pytest.mark.parametrize("depth", [100, 240, 300, 1_000])
def test_json_that_is_nested_deep_is_one_bad_row_and_no_more(prepared: Callable[..., Prepared], depth: int):
    deep = b'{"messages": ' + b"[" * depth + b"1" + b"]" * depth + b"}"
    images = b'{"images": ' + b"[" * depth + b"1" + b"]" * depth + b"}"
    done = prepared([distinct(1), deep, images, distinct(2)])
    assert sorted(reasons(done)) == [2, 3]
    assert all(len(record.to_line()) < 5_000 for record in done.quarantine)
    assert len(published(done)) == 2


def test_a_huge_role_is_not_repeated_at_length(prepared: Callable[..., Prepared]):
    (record,) = prepared([{"messages": [{"role": "x" * 100_000, "content": ""}]}]).quarantine
    assert record.reason == "unknown_role"
    assert len(record.to_line()) < 3_000


def test_values_that_json_does_not_know_are_shown_too(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"question": "q", "at": datetime.datetime(2024, 1, 1), "blob": b"\x00\x01"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet")
    done = prepare(scan_file(tmp_path / "raw.parquet"), CleaningOptions(), {})
    shown = json.loads(done.quarantine[0].to_line())
    assert shown["reason"] == "unknown_shape"
    assert shown["row"]["blob"] == "<2 bytes>"
    assert shown["detail"] == "keys found: at, blob, question; no key holds turns, or a question and its answer"


def test_facts_tell_the_source_its_fingerprint_and_every_setting(write_lines: Callable[..., Path]):
    source = scan_file(write_lines([distinct(1)]))
    facts = prepare(source, CleaningOptions(seed=7, columns={"content": "text"}), {}).facts
    assert facts["source"] == source[0].feed
    assert facts["source_fingerprint"] == fingerprint(source)
    assert facts["settings"]["seed"] == 7
    assert json.loads(json.dumps(facts["settings"])) == facts["settings"]


def test_progress_is_told_while_reading_and_after_splitting(write_lines: Callable[..., Path]):
    told: list[tuple[str, int, int]] = []
    rows = [distinct(number) for number in range(1_001)]
    prepare(scan_file(write_lines(rows)), CleaningOptions(), {}, lambda *done: told.append(done))
    assert told == [
        ("read", 1_000, 1_001),
        ("read", 1_001, 1_001),
        ("compared", 1_000, 1_001),
        ("split", 1_001, 1_001),
    ]


def test_an_empty_file_gives_an_empty_dataset_with_a_warning(prepared: Callable[..., Prepared]):
    done = prepared([])
    assert done.facts["rows"] == {"train": 0, "validation": 0, "test": 0}
    assert done.facts["broken_share"] == 0
    assert "a small dataset" in done.facts["warnings"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"personal_data": "hide"}, "choose mask, drop or keep"),
        ({"validation_share": 0.6, "test_share": 0.5}, "leave nothing to train on"),
        ({"test_share": -0.1}, "test_share is -0.1"),
        ({"near_duplicate_threshold": 0}, "near_duplicate_threshold is 0"),
        ({"max_characters": 0}, "max_characters is 0"),
        ({"columns": {"rolle": "speaker"}}, "did you mean 'role'"),
        ({"columns": {"role": ""}}, "give the name that the data uses"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        CleaningOptions(**options)


def test_preparing_common_data_imports_nothing_heavy_at_module_level():
    code = (
        "import sys, phi_assets.conversations.prepare, phi_assets.conversations.quality_checks;"
        "import phi_assets.backends.dataset_versions;"
        "heavy = {'dagster', 'numpy', 'pandas', 'pyarrow', 'datasets', 'datasketch', 'presidio_analyzer', 'torch'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
