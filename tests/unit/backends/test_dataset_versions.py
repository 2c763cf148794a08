import json
import multiprocessing
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from phi_assets.backends.dataset_versions import DatasetFolders, Published
from phi_assets.backends.row_places import PlacesChanged
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import Prepared, prepare
from tests.support.conversations import dialogue, distinct, scan_file


@pytest.fixture
def store(tmp_path: Path) -> DatasetFolders:
    return DatasetFolders(tmp_path / "store" / "datasets")


def publish(store: DatasetFolders, done: Prepared) -> Published:
    return store.publish(done.split.rows, done.quarantine, done.facts)


def lines(version: Published, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (version.folder / name).read_text().splitlines()]


def folders(store: DatasetFolders) -> set[str]:
    return {path.name for path in store.root.iterdir() if path.is_dir()}


def test_a_version_is_a_folder_with_splits_quarantine_and_manifest(
    store: DatasetFolders, prepared: Callable[..., Prepared]
):
    version = publish(store, prepared([distinct(number) for number in range(50)] + [b"{"]))
    assert {path.name for path in version.folder.iterdir()} == {
        "train.jsonl",
        "validation.jsonl",
        "test.jsonl",
        "quarantine.jsonl",
        "manifest.json",
    }
    assert [len(lines(version, f"{side}.jsonl")) for side in ("train", "validation", "test")] == [40, 5, 5]
    row = lines(version, "train.jsonl")[0]
    assert list(row) == ["id", "group", "messages"]
    assert [list(message) for message in row["messages"]] == [["role", "content"]] * 2
    assert lines(version, "quarantine.jsonl")[0]["line"] == 51
    files = version.manifest["files"]
    assert {name: file["rows"] for name, file in files.items()} == {
        "train.jsonl": 40,
        "validation.jsonl": 5,
        "test.jsonl": 5,
        "quarantine.jsonl": 1,
    }
    assert version.folder.name == version.digest == version.manifest["digest"]
    assert version.manifest["reasons"] == {"truncated_json": 1}
    assert store.verify(version.digest) == []


def test_the_same_content_is_the_same_version_whatever_the_order(
    store: DatasetFolders, prepared: Callable[..., Prepared]
):
    rows = [distinct(number) for number in range(50)]
    first = publish(store, prepared(rows))
    second = publish(store, prepared(rows[::-1]))
    assert first.digest == second.digest
    assert folders(store) == {first.digest}


def test_the_same_rows_from_a_source_with_more_broken_ones_tell_so_in_the_manifest(
    store: DatasetFolders, prepared: Callable[..., Prepared]
):
    rows = [distinct(number) for number in range(50)]
    first = publish(store, prepared(rows))
    second = publish(store, prepared([*rows, b"{", b"{"]))
    assert first.digest == second.digest
    assert (first.manifest["kinds"]["broken"], second.manifest["kinds"]["broken"]) == (0, 2)
    assert len(lines(second, "quarantine.jsonl")) == 2
    assert store.verify(second.digest) == []


def test_published_files_are_read_only_and_their_user_s_alone(store: DatasetFolders, prepared: Callable[..., Prepared]):
    version = publish(store, prepared([distinct(number) for number in range(50)]))
    assert {path.stat().st_mode & 0o777 for path in version.folder.iterdir()} == {0o400}


def test_another_content_is_another_version_and_the_latest(store: DatasetFolders, write_lines: Callable[..., Path]):
    def run(count: int) -> Published:
        source = scan_file(write_lines(distinct(number) for number in range(count)))
        return publish(store, prepare(source, CleaningOptions(), store.assignment()))

    assert store.latest() is None
    first, second = run(50), run(51)
    assert first.digest != second.digest
    assert store.latest() == second
    assert run(50).digest == first.digest
    latest = store.latest()
    assert latest is not None
    assert latest.digest == first.digest


def test_a_row_that_was_published_elsewhere_meanwhile_is_not_moved(
    store: DatasetFolders, prepared: Callable[..., Prepared]
):
    rows = [distinct(number) for number in range(50)]
    first = publish(store, prepared(rows))
    with pytest.raises(PlacesChanged, match="prepare again"):
        publish(store, prepared(rows, seed=1))
    assert store.latest() == first
    assert folders(store) == {first.digest}


@pytest.mark.parametrize(
    "damage", ["remove a file", "append", "remove the manifest", "garble the manifest", "remove all"]
)
def test_a_damaged_version_is_not_found_and_publishing_repairs_it(
    store: DatasetFolders, prepared: Callable[..., Prepared], damage: str
):
    done = prepared([distinct(number) for number in range(50)])
    version = publish(store, done)
    for path in version.folder.iterdir():
        path.chmod(0o644)
    match damage:
        case "remove a file":
            (version.folder / "test.jsonl").unlink()
        case "append":
            with (version.folder / "train.jsonl").open("a") as file:
                file.write("{}\n")
        case "remove the manifest":
            (version.folder / "manifest.json").unlink()
        case "garble the manifest":
            (version.folder / "manifest.json").write_text("[1]")
        case _:
            shutil.rmtree(version.folder)
    assert store.find(version.digest) is None
    assert store.latest() is None
    assert store.verify(version.digest) != []
    assert publish(store, done).digest == version.digest
    assert store.verify(version.digest) == []
    assert folders(store) == {version.digest}


def test_a_change_that_keeps_the_size_is_found_by_reading(store: DatasetFolders, prepared: Callable[..., Prepared]):
    version = publish(store, prepared([distinct(number) for number in range(50)]))
    path = version.folder / "test.jsonl"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"It is", b"It iz", 1))
    assert store.find(version.digest) is not None
    assert store.verify(version.digest) == [f"{path} was changed"]


def test_an_unknown_or_hostile_digest_is_not_found(store: DatasetFolders):
    assert [store.find(digest) for digest in ("0" * 64, "", ".", "..", "../..")] == [None] * 5


def test_rows_published_once_keep_their_place_over_removal_and_return(store: DatasetFolders, tmp_path: Path):
    def run(numbers: range) -> dict[str, str]:
        path = tmp_path / "raw.jsonl"
        path.write_text("".join(json.dumps(distinct(number)) + "\n" for number in numbers))
        done = prepare(scan_file(path), CleaningOptions(), store.assignment())
        publish(store, done)
        return {row.id: side for side in done.split.rows for row in done.split.rows[side]}

    first = run(range(100))
    smaller = run(range(40, 160))
    assert {row: side for row, side in smaller.items() if row in first}.items() <= first.items()
    assert run(range(200)).items() >= {**first, **smaller}.items()


def test_places_outlive_the_versions_and_a_line_that_was_cut_off(
    store: DatasetFolders, prepared: Callable[..., Prepared]
):
    first = publish(store, prepared([distinct(number) for number in range(50)]))
    places = store.assignment()
    assert len(places) == 50
    with (store.root / "places.jsonl").open("a") as file:
        file.write('["0123')
    shutil.rmtree(first.folder)
    assert store.assignment() == places
    publish(store, prepared([distinct(number) for number in range(60, 100)]))
    assert len(store.assignment()) == 90
    assert store.assignment().items() >= places.items()


@pytest.mark.parametrize("damage", [None, b"", b"\x00" * 4096, b"{}\n"])
def test_lost_places_are_read_from_the_versions_and_stored_again(
    store: DatasetFolders,
    prepared: Callable[..., Prepared],
    write_lines: Callable[..., Path],
    damage: bytes | None,
):
    rows = [distinct(number) for number in range(50)]
    publish(store, prepared(rows))
    places, file = store.assignment(), store.root / "places.jsonl"
    file.unlink() if damage is None else file.write_bytes(damage)

    assert store.assignment() == places
    publish(store, prepare(scan_file(write_lines([*rows, distinct(60)])), CleaningOptions(), store.assignment()))

    for folder in store.root.glob("[0-9a-f]*"):
        shutil.rmtree(folder)
    assert store.assignment().items() >= places.items()
    assert len(store.assignment()) == 51


def test_what_a_killed_publisher_left_behind_is_swept_away(store: DatasetFolders, prepared: Callable[..., Prepared]):
    (store.root / ".writing-abc").mkdir(parents=True)
    (store.root / ".writing-abc" / "train.jsonl").write_text("{")
    version = publish(store, prepared([distinct(number) for number in range(50)]))
    assert folders(store) == {version.digest}


def _publish_once(root: Path, rows: Path) -> str:
    done = prepare(scan_file(rows), CleaningOptions(), {})
    return publish(DatasetFolders(root), done).digest


def test_publishers_at_the_same_time_agree(store: DatasetFolders, write_lines: Callable[..., Path]):
    path = write_lines([dialogue(f"Question {number}?", f"Answer {number * 7}.") for number in range(60)])
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        digests = list(pool.map(_publish_once, [store.root] * 6, [path] * 6))
    assert len(set(digests)) == 1
    assert store.verify(digests[0]) == []
    assert folders(store) == {digests[0]}
