"""The logic of the assets is cached while no source changes; whatever the cache holds, the code version is the same."""

from pathlib import Path

import pytest

from phi_assets.graph import code_versions
from phi_assets.settings import read
from tests.support.graph_copy import code_of_assets

CODE = code_of_assets("local")["fine_tuned_model"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(code_versions, "CACHE", tmp_path / "cache" / "logic.json")
    code_versions._cached.cache_clear()
    yield code_versions.CACHE
    code_versions._cached.cache_clear()


def version() -> str:
    code_versions._cached.cache_clear()  # as a new process
    return code_versions.of(CODE, read({}))


def test_a_second_process_computes_nothing(monkeypatch):
    first = version()
    monkeypatch.setattr(code_versions, "_logic", None)

    assert version() == first


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"another": "digest"}'])
def test_a_cache_that_is_lost_or_damaged_changes_nothing(content: str, cache: Path):
    first = version()
    cache.write_text(content, encoding="utf-8")

    assert version() == first


def test_a_folder_that_cannot_be_written_changes_nothing(cache: Path, monkeypatch):
    first = version()
    monkeypatch.setattr(code_versions, "CACHE", Path("/dev/null/nowhere/logic.json"))

    assert version() == first


def test_a_changed_source_is_computed_anew(monkeypatch):
    version()
    monkeypatch.setattr(code_versions, "tree_sha256", lambda tree: "other")
    monkeypatch.setattr(code_versions, "_logic", lambda code: "computed")

    other = version()
    monkeypatch.setattr(code_versions, "_logic", lambda code: "another")
    assert version() == other


def test_the_cache_does_not_grow_for_ever(cache: Path, monkeypatch):
    monkeypatch.setattr(code_versions, "MOST_CACHED", 2)
    for number in range(4):
        monkeypatch.setattr(code_versions, "tree_sha256", lambda tree, number=number: str(number))
        version()

    code_versions._cached.cache_clear()
    assert len(code_versions._cached()) == 2
