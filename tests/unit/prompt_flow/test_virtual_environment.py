"""Prompt flow's own environment: made once, made again when it is half made, and with a remedy when it cannot be."""

from pathlib import Path

import pytest

from phi_assets.prompt_flow import virtual_environment
from phi_assets.prompt_flow.child_process import PromptFlowFailed
from phi_assets.prompt_flow.virtual_environment import COMPLETE, ensure, python


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that gets an environment of its own, as with an installed package."""
    monkeypatch.setattr(virtual_environment, "INSTALLED", True)
    return tmp_path


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock without packages: the environment itself is what is tested."""
    file = tmp_path / "lock.txt"
    file.write_text("# nothing\n", encoding="utf-8")
    return file


@pytest.mark.integration
def test_it_is_made_once_and_says_so_and_one_that_was_half_made_is_made_anew(home, lock):
    lines: list[str] = []
    folder = ensure(home, lines.append, lock=lock)
    assert ensure(home, lines.append, lock=lock) == folder
    assert python(folder).exists()
    assert len(lines) == 2
    assert str(folder) in lines[0]
    (folder / "a file of before").touch()
    (folder / COMPLETE).unlink()
    ensure(home, lock=lock)
    assert not (folder / "a file of before").exists()


@pytest.mark.long
def test_another_lock_or_a_lost_python_makes_it_anew(home, lock):
    folder = ensure(home, lock=lock)
    before = (folder / COMPLETE).read_text(encoding="utf-8")
    lock.write_text("# something else\n", encoding="utf-8")
    ensure(home, lock=lock)
    assert (folder / COMPLETE).read_text(encoding="utf-8") != before
    python(folder).unlink()
    ensure(home, lock=lock)
    assert python(folder).exists()


def test_a_link_to_another_checkouts_is_refused_and_that_one_stays(home, lock):
    other = home / "other"
    other.mkdir()
    (other / "a file of another checkout").touch()
    (home / virtual_environment.NAME).symlink_to(other)
    with pytest.raises(PromptFlowFailed, match="remove the link"):
        ensure(home, lock=lock)
    assert [file.name for file in other.iterdir()] == ["a file of another checkout"]


@pytest.mark.integration
def test_where_it_cannot_be_made_the_error_has_the_reason_and_a_remedy_and_nothing_is_left(home, lock, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home / "no wheels here"))
    lock.write_text(f"promptflow==1.18.5 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    with pytest.raises(PromptFlowFailed, match=r"could not be made(.|\n)*promptflow(.|\n)*PHI_PROMPT_FLOW=off"):
        ensure(home, lock=lock)
    assert not (home / virtual_environment.NAME).exists()


@pytest.mark.long
def test_a_package_of_another_hash_is_refused(home, lock, monkeypatch):
    lock.write_text(f"keyrings-alt==5.0.2 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    with pytest.raises(PromptFlowFailed, match=r"(?i)hash"):
        ensure(home, lock=lock)
