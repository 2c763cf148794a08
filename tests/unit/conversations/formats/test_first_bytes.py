# ruff: noqa: RUF001
import gzip
import json
import re
from itertools import islice
from pathlib import Path

import pytest

from phi_assets.conversations.formats.read_rows import read_rows
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import prepare
from phi_assets.conversations.rows import Broken, Row, SourceError
from tests.support.conversations import dialogue, distinct, scan_file

KOREAN = "".join(
    json.dumps(dialogue(f"{number}번 등대는 언제 켜집니까?", f"해가 진 뒤 {number}분에 켜집니다."), ensure_ascii=False)
    + "\n"
    for number in range(30)
)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        list(read_rows(path.name, path))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_width_of_unicode_is_named_with_its_conversion(tmp_path: Path, encoding: str):
    path = tmp_path / "raw.jsonl"
    path.write_bytes("".join(json.dumps(dialogue(f"Hi {n}", "Ho")) + "\n" for n in range(5)).encode(encoding))
    message = refusal(path)
    assert f"iconv -f {encoding[:6].upper()}" in message
    assert "-t UTF-8 raw.jsonl" in message


@pytest.mark.parametrize(("encoding", "names"), [("cp949", ("cp949", "euc_kr", "johab")), ("utf-8", ())])
def test_a_code_page_is_named_with_its_conversion(tmp_path: Path, encoding: str, names: tuple[str, ...]):
    path = tmp_path / "raw.jsonl"
    path.write_bytes(KOREAN.encode(encoding))
    if names:
        message = refusal(path)
        assert "not UTF-8" in message
        assert any(f"iconv -f {name} " in message for name in names)
    else:
        assert len(list(read_rows(path.name, path))) == 30


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "“Où” est la clé — à molette ? À côté de l’échelle, près du café."),
        ("cp1252", "Não sei qual é a duração; a informação está no manual de instruções."),
        ("cp1252", "Hur lång är garantin? Den gäller i två år från köpet, även på ön."),
        ("cp1250", "Jak długo trwa gwarancja? Dwadzieścia sześć miesięcy, także na części."),
        ("cp1250", "Jak dlouho trvá záruka? Dvacet šest měsíců, řešení najdete v příručce."),
        ("cp1250", "Meddig tart a jótállás? Huszonhat hónapig, a vásárlástól számítva, őszintén."),
        ("iso8859_2", "Jak długo trwa gwarancja? Dwadzieścia sześć miesięcy, także na części."),
        ("cp1254", "Garanti süresi ne kadar? Satın alma gününden başlayarak yirmi altı ay, çok şey değişir."),
        ("mac_roman", "Où est la clé à molette ? À côté de l'échelle, près du café."),
        ("cp1251", "Как долго действует гарантия? Двадцать шесть месяцев с момента покупки."),
        ("cp1253", "Πόσο διαρκεί η εγγύηση; Είκοσι έξι μήνες από την αγορά."),
        ("cp932", "保証期間はどのくらいですか。購入日から二十六か月です。"),
    ],
)
def test_the_conversion_from_the_code_page_that_is_named_keeps_every_letter(tmp_path: Path, encoding: str, text: str):
    path = tmp_path / "raw.jsonl"
    content = "".join(json.dumps(dialogue(text, f"{n}: {text}"), ensure_ascii=False) + "\n" for n in range(5))
    path.write_bytes(content.encode(encoding))
    (named,) = re.findall(r"iconv -f (\S+) ", refusal(path))
    assert path.read_bytes().decode(named) == content


def test_single_lines_of_another_encoding_are_broken_alone(tmp_path: Path):
    path = tmp_path / "raw.jsonl"
    wrong = '{"text": "café"}\n'.encode("cp1252")
    path.write_bytes(b'{"text": "caf\xc3\xa9"}\n' + wrong * 4)
    assert [type(item) for item in read_rows(path.name, path)] == [Row, *[Broken] * 4]


@pytest.mark.parametrize(
    ("name", "content", "cause", "remedy"),
    [
        ("raw.parquet", POINTER.encode(), "pointer of Git LFS", "git lfs pull"),
        ("raw.jsonl", POINTER.encode(), "pointer of Git LFS", "git lfs pull"),
        ("raw.json", b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page", "download it again"),
        ("raw.csv", b"PK\x03\x04\x14\x00", "Excel workbook", "CSV in UTF-8"),
        ("raw.parquet", b"PARE" + b"\x00" * 40 + b"PARE", "encrypted Parquet", "without encryption"),
        ("raw.parquet", b'{"messages": []}\n', "not readable as Parquet", "copy it again"),
        ("raw.json", b"SQLite format 3\x00....", "a SQLite database", "export its rows"),
        ("raw.jsonl", b"BZh91AY", "bzip2", "unpack it"),
    ],
)
def test_what_is_no_data_is_named_with_its_remedy(tmp_path: Path, name: str, content: bytes, cause: str, remedy: str):
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(path)
    assert cause in message
    assert remedy in message
    assert "\n" not in message


def parquet(path: Path, rows: int = 5000) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([dialogue(f"Where is {n}?", "Here.") for n in range(rows)]), path)
    return path.read_bytes()


def test_a_parquet_file_that_is_cut_off_is_named_in_the_words_of_its_parser(tmp_path: Path):
    path = tmp_path / "raw.parquet"
    path.write_bytes(parquet(path)[:-100])
    message = refusal(path)
    assert "magic bytes not found" in message
    assert "cut off: copy or download it again" in message


def test_an_arrow_file_that_is_cut_off_keeps_its_whole_rows_and_is_named(tmp_path: Path):
    import pyarrow as pa

    path = tmp_path / "data.arrow"
    table = pa.Table.from_pylist([dialogue(f"Where is {n}?", "Here.") for n in range(3000)])
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    path.write_bytes(path.read_bytes()[:-50_000])
    items = read_rows(path.name, path)
    assert [item.line for item in islice(items, 2000)] == list(range(1, 2001))
    with pytest.raises(SourceError, match=r"not readable as Arrow after row 2000: .*; it is cut off"):
        next(items)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_compressed_file_is_read_and_one_that_is_cut_off_is_named(tmp_path: Path, kind: str):
    import pyarrow as pa

    raw = "".join(json.dumps(distinct(number)) + "\n" for number in range(400)).encode()
    packed = gzip.compress(raw) if kind == "gz" else pa.compress(raw, codec="zstd", asbytes=True)
    path = tmp_path / f"raw.jsonl.{kind}"
    path.write_bytes(packed)
    assert [row.value for row in read_rows(path.name, path) if isinstance(row, Row)] == [
        distinct(number) for number in range(400)
    ]
    path.write_bytes(packed[: len(packed) // 2])
    assert "cut off or damaged: copy or download it again" in refusal(path)


def test_compressed_text_of_another_encoding_is_named_too(tmp_path: Path):
    path = tmp_path / "raw.jsonl.gz"
    path.write_bytes(gzip.compress(KOREAN.encode("utf-16")))
    assert "it is UTF-16" in refusal(path)


def test_one_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(distinct(number)) + "\n" for number in range(30)))
    (tmp_path / "b.jsonl").write_bytes(KOREAN.encode("utf-16"))
    (tmp_path / "c.parquet").write_text(POINTER)
    (tmp_path / "d.parquet").write_bytes(parquet(tmp_path / "d.parquet")[:-100])
    done = prepare(scan_file(tmp_path), CleaningOptions(), {})
    assert sum(done.split.counts().values()) == 30
    errors = {source["name"]: source.get("error", "") for source in done.facts["sources"]}
    assert errors["a.jsonl"] == ""
    for name, words in {"b.jsonl": "UTF-16", "c.parquet": "git lfs pull", "d.parquet": "cut off"}.items():
        assert words in errors[name]
        assert sum(words in warning for warning in done.facts["warnings"]) == 1


def test_when_no_file_can_be_read_the_first_reason_is_the_error(tmp_path: Path):
    (tmp_path / "b.jsonl").write_bytes(KOREAN.encode("utf-16"))
    (tmp_path / "c.parquet").write_text(POINTER)
    with pytest.raises(SourceError, match=r"it is UTF-16.*; 1 more files can't be read either"):
        prepare(scan_file(tmp_path), CleaningOptions(), {})
