"""The home's databases: copied while they are written, restored from the newest sound copy, never deleted."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from phi_assets import databases
from phi_assets.cli.main import main
from phi_assets.defs.operations.backup_job import backup
from phi_assets.settings import current, read

MLFLOW, RUNS = databases.COPIED[:2]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PHI_HOME", str(tmp_path))
    current.cache_clear()
    yield tmp_path / "local"
    current.cache_clear()


def a_database(file: Path, *values: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS facts (value)")
        connection.executemany("INSERT INTO facts VALUES (?)", [(value,) for value in values])
        connection.commit()
    return file


def facts(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [value for (value,) in connection.execute("SELECT value FROM facts")]


def test_a_copy_holds_what_an_open_writer_has_committed(state):
    file = a_database(state / MLFLOW, "a")
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO facts VALUES ('b')")
        writer.commit()
        writer.execute("INSERT INTO facts VALUES ('under way')")

        copies, damages = databases.copy_all(state)

    assert damages == []
    assert facts(copies[file]) == ["a", "b"]
    assert copies[file].stat().st_mode & 0o777 == 0o600


def test_the_newest_copies_stay_also_when_the_clock_is_set_back(state, monkeypatch):
    class Day(date):
        now = date(2031, 1, 9)

        @classmethod
        def today(cls) -> date:
            cls.now = date.fromordinal(cls.now.toordinal() - 1)
            return cls.now

    monkeypatch.setattr(databases, "date", Day)
    file = state / MLFLOW
    copies: dict[Path, Path] = {}
    for number in range(databases.KEPT + 2):
        a_database(file, str(number))
        copies, _ = databases.copy_all(state)

    kept = sorted(copies[file].parent.iterdir())
    assert len(kept) == databases.KEPT
    assert kept[-1] == copies[file]
    assert facts(copies[file])[-1] == str(databases.KEPT + 1)


@pytest.mark.parametrize("step", ["replace", "fsync", "chmod"])
def test_a_full_disk_leaves_the_older_copies_and_no_draft(state, monkeypatch, step):
    file = a_database(state / MLFLOW, "a")
    copies, _ = databases.copy_all(state)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, step, full)
        with pytest.raises(OSError, match="No space"):
            databases.copy_all(state)

    assert list(copies[file].parent.iterdir()) == [copies[file]]


def test_a_damaged_database_is_named_and_costs_no_copy_of_it(state, capsys):
    file, other = a_database(state / MLFLOW, "a"), a_database(state / RUNS, "b")
    assert main(["backup"]) == 0
    file.write_bytes(b"")

    assert main(["backup"]) == 1

    said = capsys.readouterr()
    assert f"{other}: copied to" in said.out
    assert f"phi: {file} is damaged (it is empty): `phi down`, then `phi restore`, which puts back its copy" in said.err
    assert len(list((state / databases.COPIES / MLFLOW).iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None])
def test_restore_puts_the_newest_copy_in_place_and_keeps_the_damaged_file(state, capsys, content):
    file, other = a_database(state / MLFLOW, "a"), a_database(state / RUNS, "b")
    databases.copy_all(state)
    (state / databases.COPIES / MLFLOW / "000002-2026-01-01.db").write_bytes(b"a copy that is damaged too")
    (file.with_name(f"{file.name}-wal")).write_bytes(b"of the damaged file")
    file.unlink() if content is None else file.write_bytes(content)

    assert main(["restore"]) == 0

    assert facts(file) == ["a"]
    assert facts(other) == ["b"]
    asides = sorted(each.name for each in file.parent.glob("*damaged*"))
    day = date.today().isoformat()
    assert asides == ([f"mlflow.db-wal.damaged-{day}"] if content is None else asides)
    assert content is None or (file.parent / f"mlflow.db.damaged-{day}").read_bytes() == content
    assert f"{file}: " in capsys.readouterr().out
    assert main(["restore"]) == 0
    assert "every database is sound" in capsys.readouterr().out


def test_a_damaged_database_without_a_copy_is_begun_again(state, capsys):
    file = state / databases.NOT_COPIED[0]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"garbage")

    assert main(["restore"]) == 0

    assert not file.exists()
    assert "it has no copy, so a new one is begun" in capsys.readouterr().out


def test_nothing_is_restored_while_a_process_has_the_file_open(state, capsys):
    file = a_database(state / MLFLOW, "a")
    databases.copy_all(state)
    file.write_bytes(b"garbage")

    with file.open("rb"):
        assert main(["restore"]) == 1

    assert f"has {file} open" in capsys.readouterr().err
    assert file.read_bytes() == b"garbage"


def test_the_nightly_job_copies_and_fails_for_a_damaged_database(state):
    file = a_database(state / MLFLOW, "a")
    a_database(state / RUNS, "b")
    resources = {"settings": read({"PHI_HOME": str(state.parent)})}
    with dg.DagsterInstance.ephemeral() as instance:
        assert backup.execute_in_process(instance=instance, resources=resources).success
        file.write_bytes(b"garbage")
        done = backup.execute_in_process(instance=instance, resources=resources, raise_on_error=False)

        assert not done.success
        failed = done.failure_data_for_node("copy_databases")
        assert failed
        assert f"{file} is damaged" in str(failed.user_failure_data)
    assert len(list((state / databases.COPIES / RUNS).iterdir())) == 2
