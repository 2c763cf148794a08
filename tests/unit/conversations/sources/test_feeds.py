"""Feeds: the files they return, the files they skip, and the dataset that results."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from phi_assets.backends.local.dataset.store import LocalDatasetStore
from phi_assets.conversations.formats.file_names import SUPPORTED
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import prepare
from phi_assets.conversations.quality_checks import check_broken_share
from phi_assets.conversations.rows import SourceError
from phi_assets.conversations.sources import feeds
from phi_assets.conversations.sources.address import FileSource, HubSource
from phi_assets.conversations.sources.feeds import FolderFeed, NamedFeed, Piece, Scan, fingerprint
from phi_assets.conversations.sources.hash_cache import Hashes
from tests.support.conversations import distinct, published
from tests.support.loopback_hub import LoopbackHub, run_hub

LINE = json.dumps(distinct(1)) + "\n"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def feed(inbox: Path, tmp_path: Path) -> FolderFeed:
    return FolderFeed(inbox, Hashes(tmp_path / "hashes.json"))


def put(path: Path, content: str | bytes, seconds_ago: float = 60) -> Path:
    """Write a file with a modification time `seconds_ago`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    when = time.time() - seconds_ago
    os.utime(path, (when, when))
    return path


def names(scan: Scan) -> list[str]:
    return [piece.name for piece in scan.pieces]


def left(scan: Scan) -> dict[str, str]:
    return {each.name: each.reason for each in scan.skipped}


def lines(numbers: range) -> str:
    return "".join(json.dumps(distinct(number)) + "\n" for number in numbers)


def test_a_folder_is_read_with_its_subfolders_and_without_what_is_hidden(feed: FolderFeed, inbox: Path):
    for name in ("b.jsonl", "a/c.json", ".hidden.jsonl", ".cache/x.jsonl", "a/note.part"):
        put(inbox / name, LINE)
    scan = feed.scan()
    assert names(scan) == ["a/c.json", "b.jsonl"]
    assert left(scan) == {"a/note.part": f"it is not one of {SUPPORTED}"}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path):
    assert FolderFeed(tmp_path / "nowhere", Hashes(tmp_path / "hashes.json")).scan().pieces == ()


@pytest.mark.parametrize(
    ("name", "content", "seconds_ago", "reason"),
    [
        ("new.jsonl", LINE, 1, "still being written"),
        ("empty.jsonl", "", 9_999, "empty"),
        ("cut.jsonl", LINE + LINE[:40], 60, "cut off"),
        ("cut.json", json.dumps([distinct(1), distinct(2)])[:-1], 60, "cut off"),
        ("cut.parquet", b"PAR1 and no end", 9_999, "Parquet"),
    ],
)
def test_what_is_not_complete_is_skipped(
    feed: FolderFeed, inbox: Path, name: str, content: str | bytes, seconds_ago: float, reason: str
):
    put(inbox / name, content, seconds_ago)
    scan = feed.scan()
    assert names(scan) == []
    assert reason in left(scan)[name]


@pytest.mark.parametrize(
    ("name", "content", "seconds_ago"),
    [
        ("whole.jsonl", LINE, 60),
        ("without_newline.jsonl", LINE.strip(), 60),
        ("array.json", json.dumps([distinct(1)]) + "\n\n", 60),
        ("lines.json", LINE * 2, 60),
        ("long_line.jsonl", json.dumps({"text": "x" * 200_000}), 60),
        ("table.parquet", b"PAR1....PAR1", 60),
        ("cut_long_ago.jsonl", LINE + LINE[:40], 601),
        ("of_tomorrow.jsonl", LINE, -86_400),
    ],
)
def test_what_is_complete_is_read(feed: FolderFeed, inbox: Path, name: str, content: str | bytes, seconds_ago: float):
    put(inbox / name, content, seconds_ago)
    assert names(feed.scan()) == [name]


def test_a_file_that_is_open_but_quiet_is_read_as_it_is(feed: FolderFeed, inbox: Path):
    path = put(inbox / "slow.jsonl", LINE, 60)
    with path.open("ab"):
        assert names(feed.scan()) == ["slow.jsonl"]
        assert names(NamedFeed(FileSource(path), feed.hashes).scan()) == ["slow.jsonl"]


def test_names_and_copies_do_not_count_and_content_does(feed: FolderFeed, inbox: Path):
    path = put(inbox / "a.jsonl", LINE)
    first = fingerprint([feed.scan()])
    path = path.rename(inbox / "z.jsonl")
    put(inbox / "deep" / "copy.jsonl", LINE)
    assert fingerprint([feed.scan()]) == first
    put(path, lines(range(2)))
    assert fingerprint([feed.scan()]) != first


def test_a_file_is_hashed_again_only_when_it_changed(feed: FolderFeed, inbox: Path, tmp_path: Path):
    path = put(inbox / "a.jsonl", LINE)
    first = feed.scan().pieces
    path.chmod(0)  # a second read would be refused; root may read it anyway, so the cache is checked as well
    again = FolderFeed(inbox, Hashes(tmp_path / "hashes.json"))
    assert again.hashes.knows(path)
    path.chmod(0o600)
    assert again.scan().pieces == first
    (tmp_path / "hashes.json").write_text('{"damaged": ')
    assert FolderFeed(inbox, Hashes(tmp_path / "hashes.json")).scan().pieces == first


def test_a_file_that_is_rewritten_is_known_to_come_back(feed: FolderFeed, inbox: Path):
    put(inbox / "a.jsonl", LINE)
    feed.scan()
    put(inbox / "a.jsonl", LINE, 0)
    put(inbox / "b.jsonl", LINE, 0)
    scan = feed.scan()
    assert scan.changing
    assert [(each.name, each.known) for each in scan.skipped] == [("a.jsonl", True), ("b.jsonl", False)]


def test_reading_waits_for_a_file_that_is_rewritten(feed: FolderFeed, inbox: Path):
    put(inbox / "a.jsonl", LINE)
    feed.scan()
    put(inbox / "a.jsonl", LINE, 3.5)
    messages: list[str] = []
    (scan,) = feeds.scan_when_settled([feed], messages.append)
    assert names(scan) == ["a.jsonl"]
    assert messages


def test_a_file_that_changes_while_it_is_read_is_not_published(feed: FolderFeed, inbox: Path):
    path = put(inbox / "a.jsonl", LINE)
    scan = feed.scan()
    put(path, LINE * 2)
    with pytest.raises(SourceError, match=r"a\.jsonl was changed while it was read"):
        prepare([scan], CleaningOptions(), {})


def test_another_kind_of_feed_is_one_small_class(tmp_path: Path):
    @dataclass
    class Rated:
        answers: Path
        title: str = "answers that people liked"

        def scan(self) -> Scan:
            content = self.answers.read_bytes()
            return Scan(self.title, (Piece("liked", self.answers, hashlib.sha256(content).hexdigest()),))

    feed: feeds.Feed = Rated(put(tmp_path / "answers.jsonl", lines(range(3))))
    done = prepare([feed.scan()], CleaningOptions(), {})
    assert len(published(done)) == 3
    assert done.facts["sources"][0]["feed"] == "answers that people liked"


def store(tmp_path: Path, source: Path, inbox: Path) -> LocalDatasetStore:
    return LocalDatasetStore(state=str(tmp_path / "state"), source=str(source), cleaning={}, inbox=str(inbox))


def manifest(version: Any) -> dict[str, Any]:
    return json.loads((Path(version.address) / "manifest.json").read_text())


def test_each_conversation_is_published_once_whatever_is_copied_and_renamed(tmp_path: Path, inbox: Path):
    base = put(tmp_path / "base.jsonl", lines(range(30)))
    its = store(tmp_path, base, inbox)
    before = its.publish(print)
    assert manifest(before)["rows_read"] == 30
    put(inbox / "overlap.jsonl", lines(range(20, 50)))
    put(inbox / "copy_of_base.jsonl", lines(range(30)))
    grown = its.publish(print)
    assert sum(grown.rows.values()) == 50
    sources = {each["name"]: each for each in manifest(grown)["sources"]}
    assert list(sources) == ["base.jsonl", "copy_of_base.jsonl", "overlap.jsonl"]
    assert sources["copy_of_base.jsonl"]["same_as"] == "base.jsonl"
    assert sources["overlap.jsonl"]["rows"] == 30
    told = its.source_fingerprint()
    assert manifest(grown)["source_fingerprint"] == told
    (inbox / "overlap.jsonl").rename(inbox / "a_new_name.jsonl")
    (inbox / "copy_of_base.jsonl").unlink()
    assert its.source_fingerprint() == told
    assert its.publish(print).digest == grown.digest


def test_a_half_written_file_is_never_read_into_a_dataset(tmp_path: Path, inbox: Path):
    its = store(tmp_path, put(tmp_path / "base.jsonl", lines(range(30))), inbox)
    before = its.publish(print)
    put(inbox / "half.jsonl", lines(range(30, 40))[:-20])
    said: list[str] = []
    again = its.publish(said.append)
    assert again.digest == before.digest
    assert any("half.jsonl" in line and "cut off" in line for line in said)


@pytest.mark.parametrize("source", ["inbox/mine.jsonl", "inbox/mine", ".", "inbox"])
def test_a_dataset_within_or_around_the_inbox_is_not_read_twice(tmp_path: Path, inbox: Path, source: str):
    put(inbox / "mine.jsonl", lines(range(10)))
    put(inbox / "mine" / "deep.jsonl", lines(range(10, 20)))
    put(tmp_path / "outside.jsonl", lines(range(20, 30)))
    scans = [feed.scan() for feed in store(tmp_path, (tmp_path / source).resolve(), inbox).feeds()]
    found = [str(piece.origin) for scan in scans for piece in scan.pieces]
    inside = {str(inbox / "mine.jsonl"), str(inbox / "mine" / "deep.jsonl")}
    assert sorted(found) == sorted(inside | ({str(tmp_path / "outside.jsonl")} if source == "." else set()))


def test_a_file_of_garbage_beside_many_good_rows_fails_the_check_that_names_it(
    tmp_path: Path, inbox: Path, write_lines: Callable[..., Path]
):
    its = store(tmp_path, write_lines([distinct(number) for number in range(330)]), inbox)
    put(inbox / "garbage.jsonl", lines(range(400, 405)) + '{"messages": [\n' * 45)
    put(inbox / "one_slip.jsonl", lines(range(410, 412)) + "{\n")
    verdict = check_broken_share(Path(its.publish(print).address))
    assert not verdict.passed
    assert f"garbage.jsonl in {inbox}: 45 of 50 rows are broken" in verdict.description
    assert "one_slip" not in verdict.description
    assert verdict.numbers["bad_files"] == 1
    (inbox / "garbage.jsonl").unlink()
    assert check_broken_share(Path(its.publish(print).address)).passed


def test_the_content_of_a_hub_dataset_is_the_commit_of_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.constants

    first, second = "1" * 40, "2" * 40
    (tmp_path / "data").mkdir()
    hub = LoopbackHub({"a/b": {first: tmp_path / "data"}})
    with run_hub(hub):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        feed = NamedFeed(HubSource("a/b", "train"), Hashes(tmp_path / "hashes.json"))
        before = feed.scan()
        assert feed.scan() == before
        assert before.pieces[0].origin == HubSource("a/b", "train", first)
        hub.repositories["a/b"][second] = tmp_path / "data"
        assert fingerprint([feed.scan()]) != fingerprint([before])
        pinned = NamedFeed(HubSource("a/b", "train", first), Hashes(tmp_path / "hashes.json"))
        assert fingerprint([pinned.scan()]) == fingerprint([before])


def test_a_second_scan_opens_no_file_that_is_unchanged(feed: FolderFeed, inbox: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("old.jsonl", "young.jsonl", "young.json"):
        put(inbox / name, LINE, seconds_ago=9000 if name == "old.jsonl" else 60)
    put(inbox / "cut.jsonl", LINE[:-10], seconds_ago=60)
    first = feed.scan()
    opened: list[str] = []
    read = Path.open

    def seen(path: Path, *arguments: Any, **others: Any) -> Any:
        opened.append(path.name)
        return read(path, *arguments, **others)

    monkeypatch.setattr(Path, "open", seen)

    assert feed.scan() == first
    assert set(opened) == {"cut.jsonl"}
    put(inbox / "young.jsonl", lines(range(2)), seconds_ago=50)
    feed.scan()
    assert "young.jsonl" in opened
