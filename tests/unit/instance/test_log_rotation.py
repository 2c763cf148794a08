"""Logs that are rotated while a server appends to them."""

from pathlib import Path

import pytest

from phi_assets.instance import log_rotation
from phi_assets.settings import Settings, read


@pytest.fixture
def settings(tmp_path: Path, monkeypatch) -> Settings:
    monkeypatch.setattr(log_rotation, "MOST", 1_000)
    monkeypatch.setattr(log_rotation, "REST", 100)
    return read({"PHI_HOME": str(tmp_path)})


def test_of_a_long_log_the_end_stays_and_its_writer_goes_on_at_the_beginning(settings):
    log = settings.state / "endpoints" / "phi-chat" / "blue.log"
    log.parent.mkdir(parents=True)
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2_000 + b"the end\n")
        assert log_rotation.long_logs(settings) == [log]

        log_rotation.rotate(log)
        writer.write(b"more\n")

    assert log.read_bytes() == b"more\n"
    kept = log.with_name("blue.log.1").read_bytes()
    assert (len(kept), kept[-8:]) == (100, b"the end\n")
    assert log_rotation.long_logs(settings) == []


def test_dagster_s_log_is_rotated(settings):
    log = settings.state / "dagster.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * 2_000)

    assert log_rotation.long_logs(settings) == [log]
