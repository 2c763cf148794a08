"""PollTimer and with_deadline: growing pauses, progress lines, a timeout, and a deadline for interactive commands."""

import fcntl
import threading
import time
from typing import Any

import pytest

from phi_assets.backends.azure.client import retry
from phi_assets.backends.azure.client.azure_errors import GaveUp
from phi_assets.backends.azure.client.retry import PollTimer, with_deadline
from phi_assets.backends.azure.serving import lease as deploy_lock
from phi_assets.backends.azure.serving.lease import Lease, LeaseLost


def test_pauses_grow_to_the_longest_and_a_word_is_said_now_and_then(monkeypatch):
    now, pauses, said = [0.0], list[float](), list[str]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(retry.time, "sleep", sleep)
    wait = PollTimer("making m2", said.append, 2.0, 0.5, 10.0)

    def wait_for_ever() -> None:
        while True:
            wait.pause("m2 is Creating", "look at it")

    with pytest.raises(GaveUp, match=r"making m2: gave up after 2 minutes \(m2 is Creating\); look at it"):
        wait_for_ever()
    assert pauses[0] == 0.5
    assert pauses == sorted(pauses)
    assert max(pauses) == 10.0
    assert now[0] <= 120
    assert len(said) == 3
    assert said[0].startswith("making m2: m2 is Creating, 0.")


def test_a_person_is_not_kept_waiting():
    over = threading.Event()
    with pytest.raises(GaveUp, match=r"looking: Azure did not answer within 0.05 s"):
        with_deadline("looking", over.wait, 0.05)
    over.set()
    assert with_deadline("looking", lambda: 7, 20) == 7
    with pytest.raises(ZeroDivisionError):
        with_deadline("looking", lambda: 1 / 0, 20)


def test_who_waits_for_the_lock_of_a_home_gives_up_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(deploy_lock, "MINUTES", 0.01)
    said: list[str] = []
    unused: Any = None
    with (tmp_path / "e.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(GaveUp, match="another run is changing it"),
            deploy_lock.alone(tmp_path, "e", unused, said.append),
        ):
            raise AssertionError("two at once")
    assert said == ["waiting to change endpoint e: another run is changing it"]


@pytest.mark.parametrize("slept", [deploy_lock.SECONDS + 1, -5])
def test_a_lease_is_over_when_the_machine_slept_or_its_clock_was_set(monkeypatch, slept):
    class Blob:
        def renew(self) -> None:
            pass

        release = renew

    unused: Any = Blob()
    lease = Lease(unused, print)
    lease.require()
    real = time.time
    monkeypatch.setattr(deploy_lock.time, "time", lambda: real() + slept)
    with pytest.raises(LeaseLost, match="run again"):
        lease.require()
    lease.end()
