"""PollTimer and with_deadline: growing pauses, progress lines, a timeout, and a deadline for interactive commands."""

import threading

import pytest

from phi_assets.backends.azure.client import retry
from phi_assets.backends.azure.client.azure_errors import GaveUp
from phi_assets.backends.azure.client.retry import PollTimer, with_deadline


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
