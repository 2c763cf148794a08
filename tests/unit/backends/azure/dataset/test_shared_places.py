"""Several machines publish to one project on the local Azure: every row keeps the split that it was first given."""

import json
import shutil
from pathlib import Path

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.dataset import shared_places
from phi_assets.backends.azure.dataset.shared_places import ROOT, SharedPlaces
from phi_assets.backends.azure.dataset.store import AzureDatasetStore
from phi_assets.backends.azure.storage import blob
from phi_assets.backends.row_places import PlacesChanged, PlacesFile, to_lines
from phi_assets.conversations.grouping import SIDES, Placed
from phi_assets.records import DatasetVersion
from tests.support.azure_jobs import MARKS, Work, prepared
from tests.support.azure_place import Place
from tests.unit.training_code.conftest import conversations

pytestmark = MARKS
ROWS = conversations(120, seed=7)


class Machine:
    """A home of its own that works on the project of `place`."""

    def __init__(self, control: Control, home: Path, name: str) -> None:
        self.place = Place(control, home, name)
        self.place.deploy()
        self.logged: list[str] = []

    def store(self, rows: slice) -> AzureDatasetStore:
        """Return the store of a source with these rows of ROWS."""
        self.place.home.mkdir(exist_ok=True)
        source = self.place.home / "raw.jsonl"
        source.write_text("".join(json.dumps({"messages": row}) + "\n" for row in ROWS[rows]), encoding="utf-8")
        return Work(self.place).dataset_store

    def publish(self, rows: slice) -> tuple[DatasetVersion, dict[str, str]]:
        """Publish these rows; return the version, and each row's split."""
        store = self.store(rows)
        version = store.publish(self.logged.append)
        return version, sides(store.folder(version))

    @property
    def blobs(self) -> blob.WorkspaceBlobs:
        return blob.WorkspaceBlobs(self.place.clients, self.logged.append, 0.5)

    def places(self) -> SharedPlaces:
        state = self.place.home
        return SharedPlaces(self.blobs, state / "places", PlacesFile(state / "datasets" / "places.jsonl"))


def sides(folder: Path) -> dict[str, str]:
    found = {}
    for side in SIDES:
        for line in (folder / f"{side}.jsonl").read_text(encoding="utf-8").splitlines():
            found[json.loads(line)["id"]] = side
    return found


@pytest.fixture
def machines(control: Control, tmp_path: Path, request) -> tuple[Machine, Machine]:
    """Two homes of one project, which is new in each test."""
    name = f"two-{abs(hash(request.node.name)) % 10_000}"
    prepared(Place(control, tmp_path / "first", name))
    return Machine(control, tmp_path / "first", name), Machine(control, tmp_path / "second", name)


def test_a_second_machine_keeps_the_split_of_every_row_and_finds_the_version(machines):
    first, second = machines
    version, before = first.publish(slice(0, 60))

    assert second.store(slice(0, 60)).find(version.digest) == version  # before anything is here
    _, after = second.publish(slice(20, 120))

    kept = {row: side for row, side in after.items() if row in before}
    assert len(kept) == 40
    assert kept.items() <= before.items()
    again, everywhere = first.publish(slice(0, 120))
    assert everywhere == {**before, **after}
    assert second.publish(slice(0, 120))[0] == again


def test_alone_the_second_machine_would_have_split_them_anew(machines, tmp_path):
    """The test above proves nothing if the rows had the same splits without shared places."""
    first, second = machines
    _, before = first.publish(slice(0, 60))
    second.blobs.remove(ROOT)
    _, after = second.publish(slice(20, 120))

    assert any(after[row] != side for row, side in before.items() if row in after)


def test_what_is_published_is_downloaded_when_it_is_needed(machines):
    first, second = machines
    version, before = first.publish(slice(0, 60))
    store = second.store(slice(0, 60))

    assert not (second.place.home / "datasets").exists()
    assert sides(store.folder(version)) == before
    assert store.find(version.digest) == version

    second.blobs.remove(f"phi/datasets/{version.digest}/test.jsonl")
    shutil.rmtree(second.place.home / "datasets")
    assert store.find(version.digest) is None  # it is not whole


def test_the_same_rows_again_write_no_places(machines):
    first, second = machines
    first.publish(slice(0, 60))
    second.publish(slice(0, 60))
    second.publish(slice(0, 40))

    assert second.blobs.names(ROOT) == [f"{ROOT}000001.jsonl"]


def test_of_two_at_the_same_time_the_later_prepares_again(machines, monkeypatch):
    first, second = machines
    create, others = blob.WorkspaceBlobs.create, []

    def slow(blobs: blob.WorkspaceBlobs, path: str, content: bytes) -> bool:
        if not others:
            others.append(True)
            others.append(first.publish(slice(0, 60))[1])  # between the second's reading and its writing
        return create(blobs, path, content)

    monkeypatch.setattr(blob.WorkspaceBlobs, "create", slow)
    _, after = second.publish(slice(20, 120))

    before = others[1]
    assert {row: side for row, side in after.items() if row in before}.items() <= before.items()
    assert any("another machine published" in line for line in second.logged)
    assert len(second.blobs.names(ROOT)) == 2


def test_a_lost_response_is_no_other_publisher(machines):
    first, _ = machines
    lines = to_lines({"a": Placed("train", "a")})

    assert first.blobs.create(f"{ROOT}000001.jsonl", lines)
    assert first.blobs.create(f"{ROOT}000001.jsonl", lines)
    assert not first.blobs.create(f"{ROOT}000001.jsonl", lines + lines)


def test_places_of_a_machine_that_published_alone_are_shared_once_and_contradictions_are_named(machines):
    first, second = machines
    _, before = first.publish(slice(0, 60))
    row, side = next((row, side) for row, side in before.items() if side == "test")
    own = second.place.home / "datasets" / "places.jsonl"
    own.parent.mkdir(parents=True)
    own.write_bytes(to_lines({row: Placed("train", row), "only-here": Placed("validation", "only-here")}))

    _, after = second.publish(slice(0, 60))

    assert after == before
    assert after[row] == side
    assert [line for line in second.logged if row in line and "train it again" in line]
    assert not own.exists()
    assert own.with_name("places.jsonl.shared").is_file()
    assert second.places().assignment()["only-here"].side == "validation"
    second.logged.clear()
    second.publish(slice(0, 60))
    assert not [line for line in second.logged if "train it again" in line]


def test_versions_that_a_machine_published_alone_are_read_once(machines, monkeypatch):
    """They stay on its disk, contradictions and all; the warning does not, and nor does the reading of them."""
    first, second = machines
    second.publish(slice(20, 120))  # alone: the first has not begun
    alone = second.place.home / "datasets"
    second.blobs.remove(ROOT)
    shutil.rmtree(second.place.home / "places")
    (alone / "places.jsonl.shared").unlink()
    first.publish(slice(0, 60))

    second.logged.clear()
    second.publish(slice(0, 60))
    assert len([line for line in second.logged if "train it again" in line]) == 1

    monkeypatch.setattr(PlacesFile, "assignment", lambda _: pytest.fail("the versions on disk were read again"))
    second.logged.clear()
    second.publish(slice(0, 60))
    assert not [line for line in second.logged if "train it again" in line]


def test_what_a_deleted_workspace_knew_is_remembered_by_each_machine(machines):
    first, _ = machines
    _, before = first.publish(slice(0, 60))
    first.blobs.remove("phi/")
    shutil.rmtree(first.place.home / "datasets", ignore_errors=True)
    (first.place.home / "datasets").mkdir()
    (first.place.home / "datasets" / "places.jsonl.shared").touch()

    _, after = first.publish(slice(20, 120))

    assert {row: side for row, side in after.items() if row in before}.items() <= before.items()
    assert first.places().assignment().keys() >= before.keys()


def test_a_row_in_another_split_is_refused(machines):
    first, _ = machines
    places = first.places()
    places.assignment()
    places.add({"a": Placed("train", "a")})
    places.assignment()

    with pytest.raises(PlacesChanged, match="prepare again"):
        places.add({"a": Placed("test", "a")})
    assert shared_places.NAME.fullmatch(first.blobs.names(ROOT)[0])
