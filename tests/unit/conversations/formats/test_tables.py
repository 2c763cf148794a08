"""CSV, TSV, save_to_disk folders, tables in JSON, and NaN."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.conversations.formats import arrow_files
from phi_assets.conversations.formats.read_rows import read_rows
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import Prepared, prepare
from phi_assets.conversations.rows import Row
from tests.support.conversations import dialogue, published, scan_file

PAIRS = [{"instruction": f"Name {n}?", "input": "", "output": f'Answer "{n}",\nwith a line.'} for n in range(12)]
CONVERSATIONS = [dialogue(f"Where is {n}?", f"At {n}.") for n in range(12)]


def read(path: Path, **options: int) -> list[tuple[int, Any]]:
    items = read_rows(path.name, path, **options)
    return [(item.line, item.value if isinstance(item, Row) else item.reason) for item in items]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_csv_and_tsv_are_read_with_the_lines_of_their_rows(tmp_path: Path, name: str, separator: str):
    import pandas

    pandas.DataFrame(PAIRS).to_csv(tmp_path / name, sep=separator, index=False)
    found = read(tmp_path / name)
    assert [value for _, value in found] == PAIRS
    assert [line for line, _ in found] == [2 * n + 2 for n in range(12)]


def test_csv_with_a_mark_of_its_encoding_an_index_and_turns_as_text_is_read(tmp_path: Path):
    import pandas

    frame = pandas.DataFrame([{"messages": json.dumps(row["messages"])} for row in CONVERSATIONS])
    frame.to_csv(tmp_path / "a.csv", encoding="utf-8-sig")
    done = prepare(scan_file(tmp_path / "a.csv"), CleaningOptions(), {})
    assert len(published(done)) == 12


def test_csv_rows_of_another_width_or_encoding_are_broken_alone(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"prompt,completion\na,b\nonly one\na,b,c\ncaf\xe9,b\nlast,one\n")
    assert [value if isinstance(value, str) else value["prompt"] for _, value in read(tmp_path / "a.csv")] == [
        "a",
        "wrong_number_of_fields",
        "wrong_number_of_fields",
        "bad_utf8",
        "last",
    ]


TABLES: dict[str, Callable[[Any], str]] = {
    "pandas' default": lambda frame: frame.to_json(),
    "index": lambda frame: frame.to_json(orient="index"),
    "split": lambda frame: frame.to_json(orient="split"),
    "table": lambda frame: frame.to_json(orient="table", index=False),
    "records": lambda frame: frame.to_json(orient="records"),
    "columns": lambda frame: json.dumps(frame.to_dict(orient="list")),
    "data": lambda frame: json.dumps({"data": frame.to_dict(orient="records")}),
}


@pytest.mark.parametrize("form", TABLES)
@pytest.mark.parametrize("rows", [PAIRS, CONVERSATIONS], ids=["pairs", "conversations"])
def test_a_table_in_one_object_is_taken_apart_into_its_rows(tmp_path: Path, form: str, rows: list[dict[str, Any]]):
    import pandas

    (tmp_path / "a.json").write_text(TABLES[form](pandas.DataFrame(rows)))
    found = read(tmp_path / "a.json")
    assert [value for _, value in found] == rows
    if form != "records":
        assert [line for line, _ in found] == list(range(1, 13))


def test_a_table_above_the_limit_of_a_line_is_read(tmp_path: Path):
    import pandas

    pandas.DataFrame(PAIRS).to_json(tmp_path / "a.json")
    assert [value for _, value in read(tmp_path / "a.json", max_line_bytes=100)] == PAIRS


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
        {"instruction": "a", "output": ["b", "c"]},
        {"input_ids": [1, 2], "labels": [3, 4]},
        {"tags": ["a", "b"]},
        {"data": {"x": 1}},
        {},
    ],
)
def test_a_row_is_not_taken_for_a_table(tmp_path: Path, row: dict[str, Any]):
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    assert read(tmp_path / "a.jsonl") == [(1, row)]


@pytest.mark.parametrize("splits", [False, True])
def test_a_folder_of_save_to_disk_is_read_without_its_descriptions(tmp_path: Path, splits: bool):
    import datasets

    whole = datasets.Dataset.from_list(CONVERSATIONS)
    saved = datasets.DatasetDict({"train": whole}) if splits else whole
    saved.save_to_disk(str(tmp_path / "saved"))
    (where,) = {path.parent for path in (tmp_path / "saved").rglob("state.json")}
    (where / "cache-0a1b.arrow").write_bytes(b"left over")
    done = prepare(scan_file(tmp_path / "saved"), CleaningOptions(), {})
    assert len(published(done)) == 12
    assert not done.quarantine
    assert len(done.facts["sources"]) == 1


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "null"])
def test_nan_in_json_is_null(tmp_path: Path, text: str):
    line = f'{{"instruction": "Name?", "input": {text}, "output": "A NaN is none."}}'
    for name, content in (("a.jsonl", line + "\n"), ("a.json", f"[{line},\n{line}]")):
        (tmp_path / name).write_text(content)
        values = [value for _, value in read(tmp_path / name)]
        assert values[0] == {"instruction": "Name?", "input": None, "output": "A NaN is none."}
        assert len({json.dumps(value) for value in values}) == 1


def test_nan_does_not_excuse_other_faults(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"a": NaN,}\n{"a": NaN, "b": "\\ud800"}\n')
    assert [value for _, value in read(tmp_path / "a.jsonl")] == ["invalid_json", "invalid_json"]


def test_nan_in_parquet_is_null(tmp_path: Path):
    import pandas

    frame = pandas.DataFrame([{**row, "input": float("nan")} for row in PAIRS])
    frame.to_parquet(tmp_path / "a.parquet")
    assert {value["input"] for _, value in read(tmp_path / "a.parquet")} == {None}


def test_a_file_name_that_is_not_utf_8_is_read_and_shown_with_its_bytes(
    tmp_path: Path, write_lines: Callable[..., Path]
):
    from phi_assets.conversations.sources.feeds import FolderFeed
    from phi_assets.conversations.sources.hash_cache import Hashes

    source = write_lines(CONVERSATIONS)
    (tmp_path / "folder").mkdir()
    target = os.fsencode(tmp_path / "folder") + b"/caf\xe9.jsonl"
    os.rename(os.fsencode(source), target)
    os.utime(target, (1_700_000_000, 1_700_000_000))
    hashes = Hashes(tmp_path / "hashes.json")
    for scans in (scan_file(tmp_path / "folder"), [FolderFeed(tmp_path / "folder", hashes).scan()]):
        done: Prepared = prepare(scans, CleaningOptions(), {})
        assert len(published(done)) == 12
        assert [source["name"] for source in done.facts["sources"]] == ["caf\\xe9.jsonl"]
        json.dumps(done.facts).encode()


def test_a_row_of_parquet_or_arrow_above_the_limit_is_broken_alone(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"prompt": ["a", "b" * 5_000, "c"], "completion": ["x", "y", "z"]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "a.arrow"):
        found = read(tmp_path / name, max_line_bytes=2_000)
        assert found == [
            (1, {"prompt": "a", "completion": "x"}),
            (2, "row_too_large"),
            (3, {"prompt": "c", "completion": "z"}),
        ]


def test_parquet_whose_pages_would_not_fit_in_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": ["b" * 40_000] * 30 + ["a"]})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False, row_group_size=30)
    monkeypatch.setattr(arrow_files, "_PAGE_BYTES", 1_000_000)
    assert (tmp_path / "a.parquet").stat().st_size < 4_000
    assert read(tmp_path / "a.parquet") == [*((n, "row_too_large") for n in range(1, 31)), (31, {"text": "a"})]


def test_a_dictionary_counts_by_its_own_size_and_not_by_that_of_all_rows(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [f"{number} " + "x" * 400 for number in range(20_000)]  # 8 MB: too many for a dictionary of 1 MB
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    assert group.column(0).has_dictionary_page
    assert group.column(0).total_uncompressed_size > 8_000_000
    assert 400 < arrow_files._bytes_per_row(tmp_path / "a.parquet", group) < 1_500_000
    assert [value["text"] for _, value in read(tmp_path / "a.parquet")] == texts


READ = """
import sys
from pathlib import Path
from phi_assets.conversations.formats.read_rows import read_rows
rows = sum(len(item.value["prompt"]) == 3_000_000 for item in read_rows("a.parquet", Path(sys.argv[1])))
# Unlike ru_maxrss, which begins with the memory of the process that started this one.
(peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(rows, int(peak) // 1024)
"""


def test_two_gigabytes_in_a_parquet_file_of_kilobytes_are_read_in_bounded_memory(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    prompts = pa.DictionaryArray.from_arrays(pa.array([0] * 700, pa.int32()), ["x" * 3_000_000])
    pq.write_table(pa.table({"prompt": prompts, "completion": ["y"] * 700}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 200_000
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "a.parquet")], check=True, capture_output=True, text=True
    )
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 700
    assert megabytes < 700
