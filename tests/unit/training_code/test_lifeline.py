"""A training process ends when a process that it depends on has ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from training_code.errors import EXIT_ORCHESTRATOR_GONE
from training_code.lifeline import VARIABLE, lifeline_for, start_of

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import time
from training_code.lifeline import hold_lifeline
hold_lifeline(0.1)
print("up", flush=True)
time.sleep(60)
"""


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


@pytest.fixture
def held() -> Iterator["subprocess.Popen[bytes]"]:
    process = sleeper()
    yield process
    process.kill()
    process.wait()


def child(lifeline: str) -> "subprocess.Popen[str]":
    env = {**os.environ, VARIABLE: lifeline}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD], env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_it_ends_when_one_of_them_is_killed(held: "subprocess.Popen[bytes]"):
    with child(lifeline_for([os.getpid(), held.pid])) as process:
        assert said(process) == "up"
        held.kill()
        # Not waited for: a zombie counts as dead.
        assert process.wait(30) == EXIT_ORCHESTRATOR_GONE


def test_it_does_not_start_for_a_process_that_is_gone_already(held: "subprocess.Popen[bytes]"):
    lifeline = lifeline_for([held.pid])
    held.kill()
    held.wait()
    with child(lifeline) as process:
        assert said(process) == ""
        assert process.wait(30) == EXIT_ORCHESTRATOR_GONE


def test_another_process_with_the_same_number_does_not_count():
    with child(f"{os.getpid()}:12345") as process:
        assert process.wait(30) == EXIT_ORCHESTRATOR_GONE


def test_it_lives_on_while_all_of_them_live(held: "subprocess.Popen[bytes]"):
    with child(lifeline_for([os.getpid(), held.pid])) as process:
        assert said(process) == "up"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death signal is Linux's")
def test_it_dies_with_its_parent_at_once(tmp_path: Path):
    parent = f"""
import os, subprocess, sys, time
from training_code.lifeline import VARIABLE, lifeline_for
child = {CHILD.replace("0.1", "1000")!r}
env = {{**os.environ, VARIABLE: lifeline_for([os.getpid()])}}
p = subprocess.Popen([sys.executable, "-c", child], env=env, stdout=subprocess.PIPE)
p.stdout.readline()
print(p.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        pid = int(said(process))
        started = start_of(pid)
        assert started
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while start_of(pid) == started and time.monotonic() < deadline:
            time.sleep(0.05)
        assert start_of(pid) != started


def test_without_the_variable_nothing_is_watched(monkeypatch: pytest.MonkeyPatch):
    import threading

    from training_code.lifeline import hold_lifeline

    monkeypatch.delenv(VARIABLE, raising=False)
    hold_lifeline()
    assert "lifeline" not in [thread.name for thread in threading.enumerate()]


def test_a_dead_process_cannot_be_tied_to(held: "subprocess.Popen[bytes]"):
    held.kill()
    held.wait()
    with pytest.raises(ProcessLookupError, match=f"no process {held.pid}"):
        lifeline_for([held.pid])
