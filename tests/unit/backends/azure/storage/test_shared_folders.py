"""Folders that all machines of a project share: records of other releases, and copies that lost files."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.backends.azure.storage.shared_folders import SharedFolders
from phi_assets.errors import BackendError
from phi_assets.records import Record
from tests.support.azure_place import Place

pytestmark = [pytest.mark.azure, pytest.mark.integration]
ROOT = "phi/things/"


@dataclass(frozen=True, kw_only=True)
class SharedThing(Record):
    """A record of these tests."""

    name: str


@pytest.fixture(scope="module")
def place(control: Control, tmp_path_factory) -> Place:
    credential.forget()
    made = Place(control, tmp_path_factory.mktemp("home"))
    made.deploy()
    return made


@pytest.fixture
def folders(place: Place):
    yield SharedFolders(place.clients, ROOT, 0.5, place.log)
    WorkspaceBlobs(place.clients, place.log, 0.5).remove(ROOT)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.txt").write_text("bb")
    return folder


THING = SharedThing(digest="d" * 64, name="one")


@pytest.mark.parametrize("change", [{"schema": 2}, {"record": "Unheard"}, {"more": 1}], ids=["schema", "kind", "field"])
def test_the_record_of_another_release_is_neither_made_again_nor_overwritten(
    folders: SharedFolders, place: Place, made: Path, change: dict[str, object]
):
    folders.put(THING, made)
    blobs, name = WorkspaceBlobs(place.clients, place.log, 0.5), f"{folders.place(THING.digest)}record.json"
    found = blobs.tagged(name)
    assert found
    written = json.loads(found[0])
    written["record"] |= change
    assert blobs.replace(name, json.dumps(written).encode(), found[1])

    for use in (lambda: folders.find(THING.digest), lambda: folders.put(THING, made)):
        with pytest.raises(BackendError, match=r"release of phi-assets.*; install that release here too"):
            use()
    assert folders.remembered(THING.digest) is None
    assert json.loads(blobs.read(name)) == written


def test_a_damaged_record_is_replaced(folders: SharedFolders, place: Place, made: Path):
    folders.put(THING, made)
    blobs, name = WorkspaceBlobs(place.clients, place.log, 0.5), f"{folders.place(THING.digest)}record.json"
    found = blobs.tagged(name)
    assert found
    assert blobs.replace(name, b"{", found[1])
    assert folders.find(THING.digest) is None
    folders.put(THING, made)
    assert folders.find(THING.digest) == THING


def test_a_copy_that_lost_a_file_is_fetched_again(folders: SharedFolders, made: Path, tmp_path: Path):
    folders.put(THING, made)
    copy = folders.fetch(THING, tmp_path / "home")
    (copy / "kept.txt").write_text("of this home")
    assert folders.fetch(THING, tmp_path / "home") == copy
    assert (copy / "kept.txt").exists()

    (copy / "deep" / "b.txt").unlink()
    assert folders.fetch(THING, tmp_path / "home") == copy
    assert (copy / "deep" / "b.txt").read_text() == "bb"
    other = replace(THING, digest="e" * 64)
    folders.put(other, copy)
    assert sorted(Path(each).name for each in folders._blobs.names(folders.place(other.digest))) == [
        "a.txt", "b.txt", "record.json",
    ]  # fmt: skip
