"""A home and its SQLite files carry a version: older ones are migrated, and newer ones are refused in a sentence."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from phi_assets.answer_log import Answers, AnswersUnreadable
from phi_assets.files import DamagedFile
from phi_assets.instance import home
from phi_assets.notifications.outbox import Outbox
from phi_assets.settings import Settings, SettingsError, read
from serving_code import answers, sqlite_schema


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read({"PHI_HOME": str(tmp_path / "home")})


def test_a_new_home_and_one_without_a_version_get_the_current_one(settings):
    for _ in range(2):
        with home.instance(settings):
            assert home.version_of(settings) == len(home.MIGRATIONS)
        (settings.state / home.VERSION).unlink()


def test_an_older_home_goes_through_each_step_that_it_lacks(settings, monkeypatch):
    done: list[str] = []
    steps = tuple(lambda _, name=name: done.append(name) for name in ("one", "two", "three"))
    monkeypatch.setattr(home, "MIGRATIONS", steps)
    settings.state.mkdir(parents=True)
    (settings.state / home.VERSION).write_text("1\n", encoding="utf-8")

    home.migrate(settings)

    assert done == ["two", "three"]
    assert home.version_of(settings) == 3


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("9", SettingsError, "has version 9 and was written by a newer release of phi-assets"),
        ("nine", DamagedFile, "version is damaged"),
    ],
)
def test_a_newer_home_is_refused_and_nothing_in_it_is_written(content, error, said, settings):
    settings.state.mkdir(parents=True)
    (settings.state / home.VERSION).write_text(content, encoding="utf-8")

    with pytest.raises(error, match=said), home.instance(settings):
        pass

    assert [path.name for path in settings.home.rglob("*") if path.is_file()] == [home.VERSION]


def newer(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE of_another_release (value)")
        connection.execute("PRAGMA user_version = 9")
        connection.commit()
    return path.read_bytes()


def test_answers_of_a_newer_release_are_not_written_over(tmp_path):
    path = tmp_path / "answers.sqlite"
    before = newer(path)

    with pytest.raises(AnswersUnreadable, match=r"answers\.sqlite has schema 9 and was written by a newer release"):
        Answers(tmp_path, 7).newest(1)

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("of_another_release",)]
    assert len(before) == path.stat().st_size


def test_an_outbox_of_a_newer_release_is_refused_and_not_moved_away(tmp_path):
    path = tmp_path / "outbox.sqlite"
    newer(path)

    with pytest.raises(sqlite_schema.NewerSchema, match=r"outbox\.sqlite has schema 9"):
        Outbox(path)

    assert [each.name for each in tmp_path.iterdir()] == ["outbox.sqlite"]


def test_a_file_without_a_version_is_taken_over_as_it_is(tmp_path):
    path = tmp_path / "answers.sqlite"
    with closing(answers.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 0")
        connection.execute("INSERT INTO answers VALUES (1, 'a', 1.0, 'r', 'd', 'm', '1', 'x', '[]', 'text')")
        connection.commit()

    with closing(answers.connect(path)) as connection:
        assert connection.execute("SELECT answer FROM answers").fetchall() == [("text",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(answers.MIGRATIONS),)


def test_each_step_runs_once_in_its_order(tmp_path):
    steps = ["CREATE TABLE log (step)", "INSERT INTO log VALUES (2)", "INSERT INTO log VALUES (3)"]
    with closing(sqlite3.connect(tmp_path / "file")) as connection:
        sqlite_schema.prepare(connection, "file", steps[:2])
        sqlite_schema.prepare(connection, "file", steps)
        sqlite_schema.prepare(connection, "file", steps)

        assert connection.execute("SELECT step FROM log").fetchall() == [(2,), (3,)]
