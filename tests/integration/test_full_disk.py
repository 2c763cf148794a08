"""A disk that is full at each write of a command: one sentence, nothing half written, and it goes on later."""

from collections.abc import Iterator

import pytest

from tests.support.failing_writes import EVER, FailingWrites
from tests.support.forked_phi import ForkedPhi
from tests.support.full_disk import COMMANDS, FULL, fill_the_disk, require_a_sentence
from tests.support.whole_home import MadeHome, not_whole

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeHome]:
    made = MadeHome(tmp_path_factory.mktemp("made"), 3640)
    try:
        made.make()
        yield made
    finally:
        made.commands.phi("down")


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory, home: MadeHome) -> FailingWrites:
    return FailingWrites(tmp_path_factory.mktemp("writes"), home.path)


@pytest.fixture(scope="module")
def phi(tmp_path_factory: pytest.TempPathFactory, home: MadeHome, writes: FailingWrites) -> Iterator[ForkedPhi]:
    forked = ForkedPhi(tmp_path_factory.mktemp("phi"), {**home.commands.settings, **writes.variables})
    yield forked
    forked.end()


@pytest.fixture(autouse=True)
def as_made(home: MadeHome) -> None:
    home.put_back()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_kind_of_write_may_find_the_disk_full(command, home, writes, phi):
    fill_the_disk(command, home, writes, phi, slice(None))


@pytest.mark.parametrize("at", [1, 40, 120, 400])
def test_a_run_on_a_disk_that_fills_up_goes_on_when_there_is_room(at, home, writes, phi):
    writes.begin(at, EVER)
    done, hit = phi("run"), writes.hit
    writes.begin()

    require_a_sentence(done, FULL, hit)
    again = phi("run")
    assert again.code == 0, f"after {hit}: {again}"
    assert phi("down").code == 0
    assert not_whole(home.path) == []
