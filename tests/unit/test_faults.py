"""Faults of this machine end in one sentence: what, where, and the remedy."""

import errno
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy

from phi_assets import databases, faults
from phi_assets.files import (
    DamagedFile,
    atomic_write,
    errors_name,
    lock,
    locked,
    make_private,
    private_folder,
    read_json,
    set_aside,
)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, r"the disk of /h/file is full.*: free space on it"),
        (errno.EDQUOT, r"your disk quota for /h/file is used up: delete"),
        (errno.EIO, r"the disk of /h/file failed .*see `dmesg`"),
        (errno.EROFS, r"/h/file is on a file system that is mounted read-only: mount it writable"),
        (errno.EFBIG, r"/h/file is larger than this shell allows.*ulimit -f"),
        (errno.EACCES, r"no permission for /h/file: `ls -ld`"),
        (errno.ENAMETOOLONG, r"the path /h/file is too long: set PHI_HOME"),
        (errno.ENOLCK, r"the file system of /h/file has no file locks: set PHI_HOME"),
        (errno.EOPNOTSUPP, r"the file system of /h/file has no file locks"),
        (errno.EMFILE, r"too many files open.*ulimit -n"),
        (errno.ENOENT, r"/h/file is gone from the home: `phi run`"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_system_s_error_is_one_sentence_with_place_and_remedy(number, words, wrapped):
    error: Exception = OSError(number, os.strerror(number), "/h/file")
    if wrapped:
        error = _raised_from(RuntimeError("the library failed"), error)

    said = faults.sentence(error, Path("/h"))

    assert "\n" not in said
    assert re.search(words, said), said


def test_the_same_sentence_is_made_of_the_text_that_dagster_stores():
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/h/file")

    assert faults.of_message(f"OSError: {error}", Path("/h")) == faults.sentence(error, Path("/h"))
    assert faults.of_message("ValueError: no", Path("/h")) == ""


def test_a_bug_is_no_fault():
    bug = KeyError("name")
    bug.__context__ = OSError(errno.ENOSPC, "full")  # while another error was handled, which did not cause it

    assert faults.sentence(bug, Path("/h")) == ""
    assert faults.sentence(FileNotFoundError(errno.ENOENT, "no", "/elsewhere"), Path("/h")) == ""
    assert faults.sentence(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Path("/h")) == ""


def test_a_database_s_error_names_the_damaged_file_and_its_copy(tmp_path):
    state = tmp_path / "local"
    file = a_database(state / databases.COPIED[0])
    databases.copy_all(state)
    file.write_bytes(file.read_bytes()[:100] + b"x" * (file.stat().st_size - 100))
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    with pytest.raises(sqlalchemy.exc.DatabaseError) as caught, engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT * FROM facts")).all()
    engine.dispose()

    said = faults.sentence(caught.value, tmp_path)

    assert f"{file} is damaged" in said
    assert "`phi restore`, which puts back its copy of 2" in said


def test_a_locked_database_names_the_command_that_shows_its_holder(tmp_path):
    assert "fuser" in faults.sentence(sqlite3.OperationalError("database is locked"), tmp_path)


@pytest.mark.parametrize("words", ["unable to open database file", "disk I/O error", "database or disk is full"])
def test_sqlite_s_words_are_read_as_what_the_disk_says(words, tmp_path, monkeypatch):
    error = sqlite3.OperationalError(words)
    assert "no permission" not in faults.sentence(error, tmp_path)
    assert faults.of_disk(tmp_path) == ""

    monkeypatch.setattr(os, "fsync", _fails)

    assert "is full: free space on it" in faults.sentence(error, tmp_path)
    assert "is full: free space on it" in faults.of_disk(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_from_a_write_to_a_stream():
    with (
        pytest.raises(OSError, match=r"/h/file") as caught,
        errors_name(Path("/h/file")),
        open("/dev/full", "w", encoding="utf-8") as full,
    ):
        print("x", file=full, flush=True)

    assert faults.sentence(caught.value, Path("/h")).startswith("the disk of /h/file is full")


def test_a_write_that_fails_leaves_the_old_content_and_no_draft(tmp_path, monkeypatch):
    file = tmp_path / "record.json"
    atomic_write(file, "old")
    for name in ("replace", "fsync", "chmod"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, _fails)
            with pytest.raises(OSError, match=r"record\.json"):
                atomic_write(file, "new")

        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="No locks") as caught, locked(tmp_path / "a.lock"):
        pass

    assert "has no file locks" in faults.sentence(caught.value, tmp_path)
    assert str(tmp_path / "a.lock") in str(caught.value)
    with pytest.raises(OSError, match=r"a\.lock"):
        lock(0, 0, tmp_path / "a.lock")


def test_folders_and_files_are_their_user_s_alone(tmp_path):
    os.umask(0o022)
    folder = private_folder(tmp_path / "a" / "b")
    atomic_write(folder / "c" / "file", "x")
    (folder / "open").write_text("x")
    (folder / "link").symlink_to("/etc")

    assert {oct(path.stat().st_mode & 0o777) for path in (folder, folder.parent, folder / "c")} == {"0o700"}
    assert (folder / "c" / "file").stat().st_mode & 0o777 == 0o600
    make_private(tmp_path / "a")
    assert (folder / "open").stat().st_mode & 0o777 == 0o600
    assert Path("/etc").stat().st_mode & 0o055


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "home").write_text("x")

    with pytest.raises(NotADirectoryError) as caught:
        private_folder(tmp_path / "home" / "local")

    assert str(tmp_path / "home") in faults.sentence(caught.value, tmp_path)


@pytest.mark.parametrize(("content", "said"), [(b"", "it is empty"), (b'{"a', "not valid JSON"), (b"\xff\x00", "JSON")])
def test_a_damaged_json_file_is_named_with_its_remedy(tmp_path, content, said):
    (tmp_path / "x.json").write_bytes(content)

    with pytest.raises(DamagedFile, match=rf"x\.json is damaged \(.*{said}.*\): delete it") as caught:
        read_json(tmp_path / "x.json", "delete it")

    assert faults.sentence(caught.value, tmp_path) == str(caught.value)


def test_what_is_set_aside_keeps_its_content_however_often(tmp_path):
    asides = []
    for number in range(3):
        (tmp_path / "x").write_text(str(number))
        asides.append(set_aside(tmp_path / "x"))

    assert [each.read_text() for each in asides if each] == ["0", "1", "2"]
    assert set_aside(tmp_path / "x") is None


def a_database(file: Path, rows: int = 200) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE facts (value)")
        connection.executemany("INSERT INTO facts VALUES (?)", [("x" * 100,)] * rows)
        connection.commit()
    return file


def _fails(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _raised_from(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except Exception as e:
        return e
