"""The cache of drifts: what is known is not measured again, and what is damaged is."""

from pathlib import Path

import pytest

from phi_assets.conversations import drift_cache
from phi_assets.conversations.drift import Drift
from phi_assets.conversations.drift_cache import DriftCache
from tests.unit.conversations.test_drift import publish, row


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    before = publish(tmp_path / "a", [row("1"), row("2"), row("3")])
    return before, publish(tmp_path / "b", [row("1"), row("4")])


def test_a_pair_is_measured_once_also_for_another_process(tmp_path, folders):
    assert DriftCache(tmp_path).find("d1", "d2") is None
    first = DriftCache(tmp_path).measured("d1", "d2", lambda: folders)

    assert first == Drift(distance=0.0, new=1, trained_on=3, enough=False)
    assert DriftCache(tmp_path).find("d1", "d2") == first
    assert DriftCache(tmp_path).measured("d1", "d2", lambda: pytest.fail("asked for files")) == first
    assert DriftCache(tmp_path).find("d2", "d1") is None


def test_without_files_to_compare_nothing_is_stored(tmp_path):
    assert DriftCache(tmp_path).measured("d1", "d2", lambda: None) is None
    assert DriftCache(tmp_path).find("d1", "d2") is None


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"d1 d2": 1}', '{"d1 d2": {"distance": 0.5}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path, folders, damaged):
    (tmp_path / "drift.json").write_text(damaged)

    assert DriftCache(tmp_path).find("d1", "d2") is None
    DriftCache(tmp_path).measured("d1", "d2", lambda: folders)
    assert DriftCache(tmp_path).find("d1", "d2")


def test_the_oldest_pairs_are_dropped(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(drift_cache, "_MOST", 2)
    cache = DriftCache(tmp_path)
    for number in range(3):
        cache.measured("d", f"{number}", lambda: folders)

    assert [bool(cache.find("d", f"{number}")) for number in range(3)] == [False, True, True]
