"""Records outlive releases: one that another release wrote, or that is damaged, is refused in a sentence."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from phi_assets.backends import content_store
from phi_assets.graph.io_manager import RecordIOManager, RecordMissing
from phi_assets.records import Connection, Endpoint, Record, RecordUnreadable

WRITTEN = Endpoint(digest="d1", name="chat", address="http://127.0.0.1:1")


def text(**changes: Any) -> str:
    values = {**json.loads(WRITTEN.to_json()), **changes}
    return json.dumps({name: value for name, value in values.items() if value is not None})


def test_a_record_is_read_as_it_was_written():
    assert Record.from_json(WRITTEN.to_json()) == WRITTEN
    assert json.loads(WRITTEN.to_json())["schema"] == 1


def test_a_record_without_a_schema_number_and_without_a_newer_field_is_read():
    assert Record.from_json(text(schema=None, auth=None, portal=None)) == WRITTEN


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WRITTEN.to_json()[:40], "its record is damaged"),
        ("[1, 2]", "its record is damaged"),
        ("{}", "its record is damaged"),
        (text(record="Unicorn"), "its record is a Unicorn, which this release of phi-assets does not know"),
        (text(address=None, url="http://127.0.0.1:1"), "its record lacks address and has an unknown url: another rel"),
        (text(schema=9), "its record has schema 9 and was written by a newer release of phi-assets; this one reads sc"),
        (text(schema="two"), "its record has schema two"),
    ],
    ids=["cut off", "a list", "empty", "of an unknown kind", "a field renamed", "newer", "no number"],
)
def test_what_cannot_be_read_is_a_sentence_and_counts_as_never_made(content: str, said: str, tmp_path: Path):
    with pytest.raises(RecordUnreadable, match=said):
        Record.from_json(content)
    key = dg.AssetKey("online_endpoint")
    records = RecordIOManager(folder=str(tmp_path))
    (tmp_path / "online_endpoint.json").write_text(content, encoding="utf-8")

    assert records.latest(key) is None
    assert records.unreadable(key).startswith(said)
    with pytest.raises(RecordMissing, match=f"online_endpoint cannot be used, because {said}"):
        records.require(key)


def test_bytes_that_are_no_text_are_damage(tmp_path: Path):
    (tmp_path / "online_endpoint.json").write_bytes(b"\xff\xfe\x00")

    assert RecordIOManager(folder=str(tmp_path)).latest(dg.AssetKey("online_endpoint")) is None


def test_a_record_of_another_class_is_not_taken_for_the_wanted_one():
    with pytest.raises(RecordUnreadable, match="its record is a Endpoint, and a Connection is expected"):
        Connection.from_json(WRITTEN.to_json())


def test_an_older_schema_is_converted(monkeypatch):
    def upgrade(values: dict[str, Any], schema: int) -> dict[str, Any]:
        assert schema == 1
        address = values.pop("url")
        return {**values, "address": address}

    monkeypatch.setattr(Endpoint, "schema", 2)
    monkeypatch.setattr(Endpoint, "upgrade", upgrade)

    assert Record.from_json(text(schema=None, address=None, url=WRITTEN.address)) == WRITTEN


def test_a_stored_thing_whose_record_cannot_be_read_is_not_found(tmp_path: Path):
    folder = content_store.place(tmp_path, "d1")
    content_store.put(WRITTEN, folder)
    assert content_store.find(tmp_path, "d1", lambda _: True) == WRITTEN

    (folder / content_store.RECORD).write_text(text(record="Unicorn"), encoding="utf-8")
    assert content_store.find(tmp_path, "d1", lambda _: True) is None
