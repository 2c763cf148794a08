"""Heartbeats of runs on the local Azure, judged by the clock of the storage service."""

import json
import subprocess
import sys
import time

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.operations import blob_heartbeats
from phi_assets.backends.azure.operations.blob_heartbeats import BlobHeartbeats
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from tests.support.azure_jobs import until
from tests.support.azure_place import Place

pytestmark = [pytest.mark.azure, pytest.mark.integration]
RUN = "11111111-1111-4111-8111-111111111111"
BEATING = """
import json, sys
from phi_assets.backends.azure.operations import blob_heartbeats
blob_heartbeats.BEAT_SECONDS = 0.5
with blob_heartbeats.BlobHeartbeats(account=json.loads(sys.argv[1])).beat(sys.argv[2]):
    input()
"""


@pytest.fixture(scope="module")
def place(control: Control, tmp_path_factory) -> Place:
    return Place(control, tmp_path_factory.mktemp("home"))


@pytest.fixture
def heartbeats(place: Place, monkeypatch) -> BlobHeartbeats:
    monkeypatch.setattr(blob_heartbeats, "BEAT_SECONDS", 0.5)
    monkeypatch.setattr(blob_heartbeats, "LAPSED_SECONDS", 3.0)
    return BlobHeartbeats(account=place.clients.account.fields)


def stored(place: Place) -> list[str]:
    return WorkspaceBlobs(place.clients, place.log, 0.5).names(blob_heartbeats.ROOT)


def test_before_the_deployment_no_run_has_a_heartbeat_and_none_fails(heartbeats: BlobHeartbeats):
    with heartbeats.beat(RUN):
        time.sleep(1)
    assert heartbeats.lapsed() == []


def test_the_heartbeat_of_a_killed_process_lapses_by_the_store_s_clock_and_that_of_a_living_one_does_not(
    place: Place, heartbeats: BlobHeartbeats, monkeypatch
):
    place.deploy()
    command = [sys.executable, "-c", BEATING, json.dumps(place.clients.account.fields), RUN]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        until(lambda: stored(place))
        time.sleep(4)
        assert heartbeats.lapsed() == []
        process.kill()
    monkeypatch.setattr("time.time", lambda: 0.0)  # a wrong clock of the machine that looks

    until(lambda: heartbeats.lapsed() == [RUN], 15)

    heartbeats.forget([RUN])
    assert stored(place) == []


def test_a_run_removes_its_heartbeat_at_its_end_and_a_short_one_has_none(place: Place, heartbeats: BlobHeartbeats):
    place.control.forget_requests()
    with heartbeats.beat(RUN):
        pass
    assert not place.writes("blob")
    with heartbeats.beat(RUN):
        until(lambda: stored(place))
    assert stored(place) == []
