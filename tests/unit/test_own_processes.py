"""Processes of this project are known by a token, and by the start that the kernel counts."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from phi_assets import own_processes
from phi_assets.own_processes import VARIABLE, Process


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    started: list[subprocess.Popen] = []

    def begin(code: str = "input()", **variables: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **variables},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_process_is_alive_until_it_ends(start):
    child = start()
    process = Process.of(child.pid)
    assert process.alive
    assert not Process(child.pid, "1").alive  # the id of a process that ended, which another one has now

    child.kill()
    child.wait()

    assert not process.alive
    with pytest.raises(ProcessLookupError, match=str(child.pid)):
        Process.of(child.pid)


def test_a_step_of_the_clock_does_not_change_who_is_alive(start, monkeypatch):
    process = Process.of(start().pid)
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("psutil.boot_time", lambda: 0.0)

    assert process.alive
    assert Process.of(process.pid) == process


def test_the_token_is_made_once_and_is_private(tmp_path):
    file = tmp_path / "home" / "processes.token"
    assert own_processes.read_token(file) == ""

    made = own_processes.token(file)

    assert len(made) == 32
    assert own_processes.token(file) == own_processes.read_token(file) == made
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", [b"", b"\n", b"\xff\xfe"])
def test_a_damaged_token_is_made_again(tmp_path, damage):
    file = tmp_path / "processes.token"
    file.write_bytes(damage)

    assert len(own_processes.token(file)) == 32


def test_only_processes_with_the_token_are_found_and_ended(start):
    ours, theirs, nobodys = start(**{VARIABLE: "ours"}), start(**{VARIABLE: "theirs"}), start(**{VARIABLE: ""})

    found = list(own_processes.with_token("ours"))
    assert [process.pid for process in found] == [ours.pid]
    assert list(own_processes.with_token("")) == []

    own_processes.end(found, 5)

    assert ours.wait(5) is not None  # psutil has read the status already
    assert theirs.poll() is None
    assert nobodys.poll() is None


def test_a_process_that_ignores_the_signal_is_killed(start):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); input()"
    process = start(stubborn, **{VARIABLE: "stubborn"})
    assert process.stdout.readline() == b"ready\n"

    start_ticks = Process.of(process.pid).start

    own_processes.end(own_processes.with_token("stubborn"), 0.3)

    assert not Process(process.pid, start_ticks).alive


def test_this_process_is_never_among_those_with_its_token(start):
    code = "from phi_assets import own_processes; print([each.pid for each in own_processes.with_token('self')])"
    process = start(code, **{VARIABLE: "self"})

    assert process.communicate()[0].strip() == b"[]"


def test_the_machine_has_a_lasting_name():
    assert own_processes.machine() == own_processes.machine()
    assert len(own_processes.machine()) == 8
