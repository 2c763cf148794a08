import json
from pathlib import Path

import pytest

from phi_assets.conversations.rows import Row, SourceError
from phi_assets.conversations.sources.address import FileSource, HubSource, parse_source
from phi_assets.conversations.sources.feeds import pieces_of
from phi_assets.conversations.sources.read_source import read_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "hf:HuggingFaceH4/ultrachat_200k:train_sft[:1%]",
            HubSource("HuggingFaceH4/ultrachat_200k", "train_sft[:1%]", None),
        ),
        ("hf:squad@refs/convert/parquet:train", HubSource("squad", "train", "refs/convert/parquet")),
        ("hf:a/b@0a1b2c:train[:10]+test[5:]", HubSource("a/b", "train[:10]+test[5:]", "0a1b2c")),
        ("data/chats.jsonl", FileSource(Path("data/chats.jsonl"))),
        ("  /data/chats ", FileSource(Path("/data/chats"))),
    ],
)
def test_a_source_is_a_path_or_a_split_of_a_hub_dataset(text: str, expected: object):
    assert parse_source(text) == expected


def test_a_hub_source_reads_back_from_its_own_text():
    text = "hf:a/b@0a1b2c:train[:10]"
    assert str(parse_source(text)) == text


@pytest.mark.parametrize("text", ["", "hf:", "hf:name", "hf:name:", "hf:a/b/c:train"])
def test_a_malformed_source_is_refused_with_the_right_form(text: str):
    with pytest.raises(SourceError, match="hf:<dataset>"):
        parse_source(text)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match=r"no file or folder .*nowhere\.jsonl"):
        pieces_of(FileSource(tmp_path / "nowhere.jsonl"))


def test_another_kind_of_file_is_refused(tmp_path: Path):
    (tmp_path / "chats.xlsx").write_text("a,b")
    with pytest.raises(SourceError, match=r"not one of \.json"):
        pieces_of(FileSource(tmp_path / "chats.xlsx"))


def test_a_folder_without_data_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match="holds no file"):
        pieces_of(FileSource(tmp_path))


def test_a_folder_is_read_whole_sorted_and_without_hidden_files(tmp_path: Path):
    for name in ("b.jsonl", "a/z.ndjson", "a/c.json", ".hidden.jsonl", ".cache/x.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"x": 1}\n')
    found = [piece.name for piece in pieces_of(FileSource(tmp_path))]
    assert found == ["a/c.json", "a/z.ndjson", "b.jsonl"]


def test_a_hub_that_cannot_be_reached_is_one_clear_error(monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.constants

    # A closed port on this machine stands for a laptop without a network.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    source = HubSource("HuggingFaceH4/ultrachat_200k", "train_sft[:1%]")
    with pytest.raises(SourceError, match=r"can't reach the Hugging Face hub for hf:HuggingFaceH4.*local file"):
        pieces_of(source)


def test_reading_from_a_hub_that_is_switched_off_is_one_clear_error(monkeypatch: pytest.MonkeyPatch):
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="can't reach the Hugging Face hub"):
        list(read_source("hub", HubSource("HuggingFaceH4/ultrachat_200k", "train_sft[:1%]")))


@pytest.mark.guide("download-dataset")
@pytest.mark.integration
def test_a_split_expression_is_read_through_the_datasets_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    rows = [{"messages": [{"role": "user", "content": f"question {number}"}]} for number in range(10)]
    (tmp_path / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # The library takes a folder where it takes the name of a hub dataset; all but the download is the same.
    source = HubSource(str(tmp_path / "data"), "train[20%:50%]")
    assert list(read_source("hub", source)) == [Row(str(source), number, rows[number + 1]) for number in (1, 2, 3)]


@pytest.mark.integration
def test_a_split_that_a_dataset_does_not_have_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text('{"messages": []}\n')
    with pytest.raises(SourceError, match="check the split expression"):
        list(read_source("hub", HubSource(str(tmp_path / "data"), "trian[:1%]")))
