"""A disk that is full at chosen writes of a `phi` command: what must hold then, and afterwards."""

from tests.support.failing_writes import EVER, FailingWrites
from tests.support.forked_phi import Ended, ForkedPhi
from tests.support.whole_home import MadeHome, not_whole

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
