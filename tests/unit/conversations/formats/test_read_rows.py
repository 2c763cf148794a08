import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.conversations.formats.read_rows import read_rows
from phi_assets.conversations.rows import Broken, Row, SourceError


def read(path: Path, **options: int) -> list[tuple[int, Any]]:
    """Line numbers with the row's value, or with the reason why there is none."""
    items = read_rows(path.name, path, **options)
    return [(item.line, item.value if isinstance(item, Row) else item.reason) for item in items]


def test_broken_lines_are_told_apart_and_the_others_kept_with_their_numbers(write_lines: Callable[..., Path]):
    rows = [
        {"n": 1},
        b'{"n": 2, "text": "cut of',
        b"",
        b'{"n": "\xff\xfe"}',
        b"[1, 2]",
        b'{"n": 6,}',
        b'{"n": "\\ud800"}',
        {"n": 8},
    ]
    assert read(write_lines(rows)) == [
        (1, {"n": 1}),
        (2, "truncated_json"),
        (4, "bad_utf8"),
        (5, "not_an_object"),
        (6, "invalid_json"),
        (7, "invalid_json"),
        (8, {"n": 8}),
    ]


def test_a_line_of_ten_megabytes_is_broken_and_the_next_one_is_read(write_lines: Callable[..., Path]):
    path = write_lines([{"n": 1}, {"n": "x" * 10_000_000}, {"n": 3}])
    assert read(path) == [(1, {"n": 1}), (2, "line_too_long"), (3, {"n": 3})]


def test_the_limit_on_a_line_is_a_setting_and_includes_its_last_byte(write_lines: Callable[..., Path]):
    path = write_lines([b'{"n": 12}', b'{"n": 123}', b'{"n": 4}'])
    assert read(path, max_line_bytes=9) == [(1, {"n": 12}), (2, "line_too_long"), (3, {"n": 4})]


def test_a_last_line_without_an_end_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path):
    path = tmp_path / "raw.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n\r\n{"n": 3}')
    assert read(path) == [(1, {"n": 1}), (3, {"n": 3})]


def test_elements_of_a_json_array_carry_the_line_where_they_start(tmp_path: Path):
    path = tmp_path / "raw.json"
    path.write_text(json.dumps([{"n": 1, "m": [{"k": 1}]}, {"n": 2, "m": []}, {"n": 3, "m": []}], indent=2))
    lines = path.read_text().splitlines()
    found = read(path)
    assert [value["n"] for _, value in found] == [1, 2, 3]
    for line, value in found:
        assert lines[line - 1].strip() == "{"
        assert f'"n": {value["n"]}' in lines[line]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_of_many_chunks_is_read_whole(tmp_path: Path, indent: int | None):
    path = tmp_path / "raw.json"
    rows = [{"n": number, "text": "ü" * (number * 97 % 5000)} for number in range(900)]
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert path.stat().st_size > (3 << 20)
    assert [value for _, value in read(path)] == rows


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b'{"n": 2, "m": [{"k": "cut', "truncated_json"),
        (b'{"n": 2, "m": [{"k": wrong}]}', "invalid_json"),
        (b'{"n": 2, "m": [{"k": "\xff"}]}', "bad_utf8"),
        (b'{"n": 2, "m": [{"k": "\\ud800"}]}', "invalid_json"),
        (b'{"n": 2, "m": ' + b"[" * 100_000, "invalid_json"),
        (b'"just text"', "not_an_object"),
        (b"17", "not_an_object"),
    ],
)
def test_a_broken_element_of_a_json_array_costs_only_itself(tmp_path: Path, broken: bytes, reason: str):
    path = tmp_path / "raw.json"
    good = [json.dumps({"n": number, "m": [{"k": "v"}]}).encode() for number in (1, 3, 4)]
    path.write_bytes(b"[\n" + b",\n".join([good[0], broken, *good[1:]]) + b"\n]\n")
    found = read(path)
    assert [line for line, _ in found] == [2, 3, 4, 5]
    assert [value if isinstance(value, str) else value["n"] for _, value in found] == [1, reason, 3, 4]


def test_a_json_array_whose_first_element_is_broken_keeps_the_others(tmp_path: Path):
    path = tmp_path / "raw.json"
    good = [json.dumps({"n": number, "m": [{"k": "v"}, {"k": "w"}]}) for number in (2, 3)]
    path.write_text('[{"n: 1, "m": [{"k": "v"}]},\n' + ",\n".join(good) + "]")
    found = read(path)
    assert [line for line, _ in found] == [1, 2, 3]
    assert [value if isinstance(value, str) else value["n"] for _, value in found] == ["invalid_json", 2, 3]


def test_a_json_array_that_ends_in_the_middle_keeps_what_came_before(tmp_path: Path):
    path = tmp_path / "raw.json"
    text = json.dumps([{"n": number} for number in range(10)], indent=1)
    path.write_text(text[: text.index('"n": 9') + 4])
    found = read(path)
    assert [value["n"] for _, value in found[:-1]] == list(range(9))
    assert found[-1][1] == "truncated_json"


def test_an_element_of_ten_megabytes_is_broken_and_the_next_one_is_read(tmp_path: Path):
    path = tmp_path / "raw.json"
    path.write_text(json.dumps([{"n": 1}, {"n": "x" * 10_000_000}, {"n": 3}], indent=1))
    assert [value for _, value in read(path)] == [{"n": 1}, "line_too_long", {"n": 3}]


def test_json_lines_under_the_name_of_json_are_read_as_lines(tmp_path: Path):
    path = tmp_path / "raw.json"
    path.write_text('{"n": 1}\n{"n": 2, "x": "cut\n{"n": 3}\n')
    assert read(path) == [(1, {"n": 1}), (2, "truncated_json"), (3, {"n": 3})]


def test_one_pretty_printed_object_is_one_row(tmp_path: Path):
    path = tmp_path / "raw.json"
    path.write_text(json.dumps({"n": 1, "m": [1, 2]}, indent=2))
    assert read(path) == [(1, {"n": 1, "m": [1, 2]})]


def test_an_array_after_an_array_is_not_lost(tmp_path: Path):
    path = tmp_path / "raw.json"
    path.write_text('[{"n": 1}]\n[{"n": 2},\n {"n": 3}]\n')
    assert read(path) == [(1, {"n": 1}), (2, {"n": 2}), (3, {"n": 3})]


@pytest.mark.parametrize("text", ["", "[]", "  [ ] ", "\n"])
def test_a_json_file_without_elements_has_no_rows(tmp_path: Path, text: str):
    path = tmp_path / "raw.json"
    path.write_text(text)
    assert read(path) == []


def test_parquet_rows_are_numbered_and_nested(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"messages": [{"role": "user", "content": str(number)}]} for number in range(1500)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet")
    found = read(tmp_path / "raw.parquet")
    assert [line for line, _ in found] == list(range(1, 1501))
    assert [value for _, value in found] == rows


def test_a_file_that_only_claims_to_be_parquet_is_a_clear_error(tmp_path: Path):
    (tmp_path / "raw.parquet").write_bytes(b"PAR1 but not really PAR1")
    with pytest.raises(SourceError, match="not readable as Parquet"):
        read(tmp_path / "raw.parquet")


def test_a_broken_piece_keeps_an_excerpt_of_its_text(write_lines: Callable[..., Path]):
    path = write_lines([b'{"n": "caf\xc3\xa9 \xff'])
    (item,) = read_rows(path.name, path)
    assert isinstance(item, Broken)
    assert item.text == '{"n": "caf\u00e9 \ufffd'


@pytest.mark.parametrize("name", ["raw.json", "raw.jsonl"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_indented_json_is_read_whatever_its_name_and_its_byte_order_mark(tmp_path: Path, name: str, mark: bytes):
    path = tmp_path / name
    rows = [{"n": 1, "m": [1, 2]}, {"n": 2, "m": []}]
    path.write_bytes(mark + json.dumps(rows, indent=1).encode())
    assert [value for _, value in read(path)] == rows
    path.write_bytes(mark + b"\n".join(json.dumps(row, indent=1).encode() for row in rows))
    assert [value for _, value in read(path)] == rows


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_encrypted_parquet_is_named(tmp_path: Path, plaintext_footer: bool):
    import base64

    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyarrow.parquet.encryption as encryption

    class Keys(encryption.KmsClient):
        def wrap_key(self, key_bytes, master_key_identifier):
            return base64.b64encode(key_bytes)

    table = pa.Table.from_pylist([{"prompt": "a", "completion": "b"}])
    settings = encryption.EncryptionConfiguration(
        footer_key="one", column_keys={"two": ["prompt"]}, plaintext_footer=plaintext_footer
    )
    factory = encryption.CryptoFactory(lambda _: Keys())
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), settings)
    with pq.ParquetWriter(tmp_path / "raw.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(SourceError, match=r"encrypted.*write it again without encryption"):
        read(tmp_path / "raw.parquet")
