import contextlib
import errno
import gc
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import prepare
from phi_assets.conversations.quarantine import Quarantine, Quarantined
from phi_assets.conversations.rows import ContextOnly, Message
from phi_assets.conversations.spool import Spool
from phi_assets.conversations.stored import Origin, StoredConversations
from tests.support.conversations import dialogue, scan_file


def open_files_in(folder: Path) -> list[str]:
    """This process's open files in the folder, deleted ones included."""
    found: list[str] = []
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{handle}"))
    return [name for name in found if name.startswith(f"{folder}/")]


def test_records_come_back_by_number_and_in_their_order_and_leave_no_file(tmp_path: Path):
    records = [bytes([number % 256]) * (number * 997 % 3_000) for number in range(2_000)]
    spool = Spool(tmp_path)
    for record in records:
        spool.append(record)
        assert spool[len(spool) - 1] == record
    assert [*spool] == records
    assert [spool[number] for number in (1_999, 0, 777)] == [records[number] for number in (1_999, 0, 777)]
    assert os.listdir(tmp_path) == []
    assert len(open_files_in(tmp_path)) == 1
    del spool
    gc.collect()
    assert not open_files_in(tmp_path)


def test_a_full_disk_is_named_by_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spool = Spool(tmp_path)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        spool.append(b"x" * (1 << 20))
    assert raised.value.filename == str(tmp_path)


def test_stored_conversations_come_back_as_they_were_with_their_origin(tmp_path: Path):
    stored = StoredConversations(tmp_path)
    turns = (Message("user", "\u4f60\u597d \U0001f600"), ContextOnly("assistant", "a"), Message("user", "b"))
    stored.add("x", turns, Origin(7, "one.jsonl", 3))
    stored.add("y", (Message("user", "c"),), Origin(9, "two.jsonl", 2**40))
    assert stored["x"] == turns
    assert [turn.learn for turn in stored["x"]] == [True, False, True]
    assert (stored.origin("x"), stored.origin("y")) == (Origin(7, "one.jsonl", 3), Origin(9, "two.jsonl", 2**40))
    assert list(stored) == ["x", "y"]


def test_the_quarantine_has_one_record_a_row_in_the_order_of_reading():
    def record(line: int, reason: str) -> Quarantined:
        return Quarantined("a", line, reason, "dropped", "broken" if reason == "b" else "policy", "", {"n": line})

    kept = Quarantine()
    for line in (2, 5, 9):
        kept.put(line, record(line, "b"))
    kept.put(5, record(5, "p"))
    kept.put(3, record(3, "p"))
    assert [(each.line, each.reason) for each in kept] == [(2, "b"), (3, "p"), (5, "p"), (9, "b")]
    assert kept.reasons() == {"b": 2, "p": 2}
    assert kept.kinds() == {"broken": 2, "unsupported": 0, "duplicate": 0, "policy": 2, "changed": 0}


def test_rows_are_not_kept_in_memory(write_lines: Callable[..., Path], tmp_path: Path):
    def peak_of(rows: int) -> int:
        scans = scan_file(write_lines(dialogue(f"{number}?", f"{number} {'x' * 10_000}") for number in range(rows)))
        tracemalloc.start()
        done = prepare(scans, CleaningOptions(), {}, folder=tmp_path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(done.facts["rows"].values()) == rows
        return peak

    peak_of(10)  # imports, and caches of patterns
    assert peak_of(2_400) - peak_of(1_200) < 0.2 * 1_200 * 10_000
