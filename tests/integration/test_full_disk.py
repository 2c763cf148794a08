"""A disk that is full at each write of a command: one sentence, nothing half written, and it goes on later."""

from collections.abc import Iterator

import pytest

from tests.support.failing_writes import EVER, FailingWrites
from tests.support.forked_phi import Ended, ForkedPhi
from tests.support.whole_home import MadeHome, not_whole

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

COMMANDS = {
    "status": ("status",),
    "clean": ("clean",),
    "backup": ("backup",),
    "restore": ("restore",),
    "answers": ("answers",),
    "models": ("models",),
    "experiments": ("experiments",),
    "down": ("down",),
}
DOES_WITHOUT = (
    "versions.json",  # a cache
    "fsync {home}/local/backups/",  # SQLite's own, of a folder
)
FULL = ("is full: free space on it",)
FOR_A_MOMENT = (*FULL, "failed (input/output error)", "could not be opened, and its disk takes writes now")
"""SQLite does not say what the system said, and a moment later the disk may be as it was."""


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


def require_a_sentence(done: Ended, sentences: tuple[str, ...], hit: str) -> None:
    lines = done.err.splitlines()
    assert "Traceback" not in done.out + done.err, f"{hit}: {done}"
    assert done.code == 1, f"{hit}: {done}"
    assert len(lines) == 1, f"{hit}: {done}"
    assert lines[0].startswith("phi: "), f"{hit}: {done}"
    assert any(words in lines[0] for words in sentences), f"{hit}: {done}"


def fill_the_disk(command: str, home: MadeHome, writes: FailingWrites, phi: ForkedPhi, kinds: slice) -> int:
    """Let the first and the last write of each kind fail, and all writes from them on; return how many faults."""
    writes.begin()
    undisturbed = phi(*COMMANDS[command])
    assert undisturbed.code == 0, undisturbed
    places = sorted({at for numbers in list(writes.kinds().values())[kinds] for at in (numbers[0], numbers[-1])})
    for at in places:
        for until, sentences in ((at, FOR_A_MOMENT), (EVER, FULL)):
            home.put_back()
            writes.begin(at, until)
            done, hit = phi(*COMMANDS[command]), writes.hit
            writes.begin()
            if not any(each.format(home=home.path) in hit for each in DOES_WITHOUT) or done.code:
                require_a_sentence(done, sentences, hit)
            assert not_whole(home.path) == [], hit
            again = phi(*COMMANDS[command])
            assert again.code == 0, f"after {hit}: {again}"
    return len(places)


@pytest.mark.parametrize(
    ("command", "some"), [("clean", slice(5, 6)), ("backup", slice(0, None, 9)), ("answers", slice(1))]
)
def test_a_full_disk_is_one_sentence_and_the_command_goes_on_when_there_is_room(command, some, home, writes, phi):
    # Some kinds of writes: the long test takes all of them.
    assert fill_the_disk(command, home, writes, phi, some)


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_every_kind_of_write_may_find_the_disk_full(command, home, writes, phi):
    fill_the_disk(command, home, writes, phi, slice(None))


def test_status_shows_what_it_can_read_on_a_full_disk(home, writes, phi):
    writes.begin(1, EVER)
    done = phi("status")
    writes.begin()

    require_a_sentence(done, FULL, writes.hit)
    assert "fine_tuned_model" in done.out
    assert "fresh" in done.out
    assert not_whole(home.path) == []


def test_a_disk_that_fills_up_does_not_keep_processes_running(writes, phi):
    writes.begin(1, EVER)
    done = phi("down")
    writes.begin()

    assert done.code == 0, done
    assert "were not running" in done.out


@pytest.mark.long
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
