"""What was read of a database is remembered until the database changes, however little and however quickly."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from phi_assets.sqlite_cache import Remembered


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with sqlite3.connect(path) as opened:
        opened.execute("create table numbers (number integer)")
        opened.execute("insert into numbers values (1)")
    return path


@pytest.fixture
def remembered(database: Path) -> Remembered:
    """A value that was read from the database as it is, and from a file that is not there."""
    its = Remembered(database.with_name("some.json"), (database, database.with_name("absent")))
    its.put(["one"], its.state())
    return its


def test_while_nothing_changes_it_is_given(remembered: Remembered):
    assert remembered.get() == ["one"]
    assert stat.S_IMODE(remembered.file.stat().st_mode) == 0o600


def test_a_transaction_is_seen_though_size_and_time_are_the_same(remembered: Remembered, database: Path):
    before = database.stat()
    with sqlite3.connect(database) as opened:
        opened.execute("update numbers set number = 2")
    os.utime(database, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert database.stat().st_size == before.st_size

    assert remembered.get() is None


def test_a_file_that_appears_or_goes_is_seen(remembered: Remembered, database: Path):
    database.with_name("absent").write_text("here now", encoding="utf-8")
    assert remembered.get() is None
    remembered.put(["two"], remembered.state())
    assert remembered.get() == ["two"]
    database.unlink()
    assert remembered.get() is None


def test_a_change_while_it_was_read_is_seen(remembered: Remembered, database: Path):
    before = remembered.state()
    with sqlite3.connect(database) as opened:
        opened.execute("insert into numbers values (3)")
    remembered.put(["read between"], before)
    assert remembered.get() is None


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", '{"state": 1}'])
def test_a_damaged_file_is_as_good_as_none(remembered: Remembered, damaged: str):
    remembered.file.write_text(damaged, encoding="utf-8")
    assert remembered.get() is None
