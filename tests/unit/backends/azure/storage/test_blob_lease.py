"""Who waits for a lease gives up in the end, and who lost it is told."""

import fcntl
import time
from types import SimpleNamespace
from typing import Any

import pytest

from phi_assets.backends.azure.client.azure_errors import GaveUp
from phi_assets.backends.azure.storage import blob_lease
from phi_assets.backends.azure.storage.blob_lease import BlobLease, LeaseLost, only_holder


def test_who_waits_for_the_lock_of_a_home_gives_up_in_the_end(tmp_path):
    said: list[str] = []
    account = SimpleNamespace(folder=tmp_path)
    blobs: Any = SimpleNamespace(clients=SimpleNamespace(account=account), log=said.append)
    (tmp_path / "locks").mkdir()
    with (tmp_path / "locks" / "e.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(GaveUp, match="another run of this home holds it"),
            only_holder(blobs, "e", "endpoint e", minutes=0.01),
        ):
            raise AssertionError("two at once")
    assert said == ["waiting for the lease on endpoint e: another run of this home holds it"]


@pytest.mark.parametrize("slept", [blob_lease.SECONDS + 1, -5])
def test_a_lease_is_over_when_the_machine_slept_or_its_clock_was_set(monkeypatch, slept):
    class Blob:
        def renew(self) -> None:
            pass

        release = renew

    unused: Any = Blob()
    lease = BlobLease(unused, "endpoint e", print)
    lease.require()
    real = time.time
    monkeypatch.setattr(blob_lease.time, "time", lambda: real() + slept)
    with pytest.raises(LeaseLost, match=r"the lease on endpoint e was lost .*run again"):
        lease.require()
    lease.end()
