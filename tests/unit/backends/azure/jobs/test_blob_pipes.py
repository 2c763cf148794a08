"""Pipes messages from a job to its run through one blob: none lost, none repeated, and another process can continue."""

import io
import itertools
import json

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from tests.support.azure_jobs import MARKS
from tests.support.azure_place import Place
from training_code import pipes
from training_code.pipes import appending_to

pytestmark = MARKS
KEYS = (f"phi/pipes/test-{number}/messages.jsonl" for number in itertools.count())


@pytest.fixture(scope="module")
def blobs(control: Control, tmp_path_factory) -> WorkspaceBlobs:
    place = Place(control, tmp_path_factory.mktemp("home"))
    place.deploy()
    return WorkspaceBlobs(place.clients, place.log, 0.5)


def a_channel(blobs: WorkspaceBlobs, key: str):
    from azure.storage.blob import BlobServiceClient

    url, container = blobs.place
    # Without tries of its own, so that each fault is one that the channel meets.
    client = BlobServiceClient(url, credential=blobs.clients.credential(), retry_total=0)
    return appending_to(client).make_channel({"bucket": container, "key": key})


def send(channel, *numbers: int) -> None:
    channel.upload_messages_chunk(io.StringIO("\n".join(json.dumps(number) for number in numbers)), 1)


def received(blobs: WorkspaceBlobs, key: str) -> list[int]:
    return [json.loads(line) for line in blobs.read(key).splitlines()]


@pytest.mark.guide("job-stream")
def test_messages_come_in_order(blobs):
    key = next(KEYS)
    channel = a_channel(blobs, key)
    send(channel, 1, 2)
    send(channel, 3)
    assert received(blobs, key) == [1, 2, 3]


def test_a_restarted_job_goes_on_behind_what_the_lost_one_said(blobs):
    key = next(KEYS)
    send(a_channel(blobs, key), 1)
    send(a_channel(blobs, key), 2)
    assert received(blobs, key) == [1, 2]


def test_a_block_whose_answer_was_lost_is_there_once(blobs, control):
    key = next(KEYS)
    channel = a_channel(blobs, key)
    control.fail_next("PUT blob comp=appendblock", "dropped")
    send(channel, 1)
    send(channel, 2)
    assert received(blobs, key) == [1, 2]


def test_what_could_not_be_sent_goes_with_the_next_block(blobs, control, capsys):
    key = next(KEYS)
    channel = a_channel(blobs, key)
    control.fail_next("PUT blob comp=appendblock", "503", times=2)
    send(channel, 0)
    send(channel, 1)
    assert "could not report to Dagster" in capsys.readouterr().out
    send(channel, 2)
    assert received(blobs, key) == [0, 1, 2]


def test_what_another_appended_meanwhile_is_neither_taken_for_one_s_own_nor_lost(blobs):
    key = next(KEYS)
    lost, mine = a_channel(blobs, key), a_channel(blobs, key)
    send(lost, 1)
    send(mine, 2)
    send(mine, 3)
    assert received(blobs, key) == [1, 2, 3]


def test_a_lost_answer_and_another_writer_at_once_lose_nothing(blobs, control):
    key = next(KEYS)
    lost, mine = a_channel(blobs, key), a_channel(blobs, key)
    control.fail_next("PUT blob comp=appendblock", "dropped")
    send(mine, 1)
    send(lost, 2)
    send(mine, 3)
    assert received(blobs, key) == [1, 2, 3]


def test_the_last_block_is_sent_again_at_the_close(blobs, control, monkeypatch):
    monkeypatch.setattr(pipes, "FINAL_RETRY_SECONDS", (0.0, 0.0, 0.0))
    key = next(KEYS)
    channel = a_channel(blobs, key)
    with channel.buffered_upload_loop():
        control.fail_next("PUT blob comp=appendblock", "503", times=3)
        channel.write_message(1)
    assert received(blobs, key) == [1]
