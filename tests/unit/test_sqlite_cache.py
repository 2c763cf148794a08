"""A value is cached until its database changes, by any transaction, however small and quick."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from phi_assets.sqlite_cache import SqliteCache


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with sqlite3.connect(path) as opened:
        opened.execute("create table numbers (number integer)")
        opened.execute("insert into numbers values (1)")
    return path


@pytest.fixture
def cache(database: Path) -> SqliteCache:
    """A cached value with the database and a missing file as sources."""
    cache = SqliteCache(database.with_name("some.json"), (database, database.with_name("absent")))
    cache.put(["one"], cache.state())
    return cache


def test_while_nothing_changes_it_is_given(cache: SqliteCache):
    assert cache.get() == ["one"]
    assert stat.S_IMODE(cache.file.stat().st_mode) == 0o600


def test_a_transaction_is_seen_though_size_and_time_are_the_same(cache: SqliteCache, database: Path):
    before = database.stat()
    with sqlite3.connect(database) as opened:
        opened.execute("update numbers set number = 2")
    os.utime(database, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert database.stat().st_size == before.st_size

    assert cache.get() is None


def test_a_file_that_appears_or_goes_is_seen(cache: SqliteCache, database: Path):
    database.with_name("absent").write_text("here now", encoding="utf-8")
    assert cache.get() is None
    cache.put(["two"], cache.state())
    assert cache.get() == ["two"]
    database.unlink()
    assert cache.get() is None


def test_a_change_while_it_was_read_is_seen(cache: SqliteCache, database: Path):
    before = cache.state()
    with sqlite3.connect(database) as opened:
        opened.execute("insert into numbers values (3)")
    cache.put(["read between"], before)
    assert cache.get() is None


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", '{"state": 1}'])
def test_a_damaged_file_is_as_good_as_none(cache: SqliteCache, damaged: str):
    cache.file.write_text(damaged, encoding="utf-8")
    assert cache.get() is None
