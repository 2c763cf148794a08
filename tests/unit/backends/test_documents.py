"""Documents that several writers change, and those that wait on this machine until they can be sent."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phi_assets.backends.documents import FolderDocuments, UnsentDocuments, change
from phi_assets.errors import BackendError

NAME = "one.json"


class Place(FolderDocuments):
    """A place that can be out of reach."""

    reached = True

    def read(self, name: str) -> tuple[bytes, str] | None:
        if not self.reached:
            raise BackendError("out of reach")
        return super().read(name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


@pytest.fixture
def unsent(place: Place, tmp_path: Path) -> UnsentDocuments:
    return UnsentDocuments(place, FolderDocuments(tmp_path / "unsent"), merge=lambda stored, new: stored + new)


def appended(word: bytes):
    return lambda content: (content or b"") + word


def test_no_change_of_many_writers_is_lost(tmp_path):
    def write(number: int) -> None:
        change(FolderDocuments(tmp_path), NAME, appended(b"%d " % number))

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(write, range(40)))

    found = FolderDocuments(tmp_path).read(NAME)
    assert found is not None
    assert sorted(map(int, found[0].split())) == list(range(40))


def test_a_document_is_replaced_only_in_the_version_that_was_read(place):
    assert place.replace(NAME, b"a", None)
    assert not place.replace(NAME, b"b", None)
    found = place.read(NAME)
    assert found is not None
    assert place.replace(NAME, b"b", found[1])
    assert not place.replace(NAME, b"c", found[1])
    assert place.all() == {NAME: b"b"}


def test_no_change_writes_nothing(place):
    place.change(NAME, appended(b"a"))
    before = (place.folder / NAME).stat().st_mtime_ns

    place.change(NAME, lambda content: None)
    place.change(NAME, lambda content: content)

    assert (place.folder / NAME).stat().st_mtime_ns == before


def test_what_cannot_be_written_is_read_here_and_sent_with_the_next_write(place, unsent):
    place.change(NAME, appended(b"theirs "))
    place.reached = False
    unsent.change(NAME, appended(b"a"))
    unsent.change(NAME, appended(b"b"))
    assert unsent.read(NAME)[0] == b"ab"
    place.reached = True
    assert unsent.all() == {NAME: b"theirs ab"}

    unsent.change("two.json", appended(b"c"))

    assert place.all() == {NAME: b"theirs ab", "two.json": b"c"}
    unsent.send()
    assert place.all() == {NAME: b"theirs ab", "two.json": b"c"}


def test_what_still_cannot_be_sent_stays(place, unsent):
    place.reached = False
    unsent.change(NAME, appended(b"a"))

    unsent.send()

    assert unsent.read(NAME)[0] == b"a"
    with pytest.raises(BackendError):
        unsent.read("two.json")
