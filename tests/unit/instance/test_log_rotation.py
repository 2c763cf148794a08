"""Logs that are rotated while a server appends to them, and those that must not be."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from phi_assets.instance import log_rotation, server
from phi_assets.instance.server import Interface
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("mode", "rotated"), [("ab", True), ("wb", False)])
def test_dagster_s_log_is_rotated_while_it_runs_only_if_it_appends(settings, monkeypatch, mode, rotated):
    log = settings.state / "dagster.log"
    log.parent.mkdir(parents=True)
    with log.open(mode) as stream:
        stream.write(b"x" * 2_000)
        stream.flush()
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=stream)
    try:
        running = Interface(child.pid, psutil.Process(child.pid).create_time(), 0, "", foreground=False)
        monkeypatch.setattr(server, "find", lambda _settings: running)

        assert log_rotation.long_logs(settings) == ([log] if rotated else [])
    finally:
        child.communicate(os.linesep.encode(), timeout=20)


def test_without_a_running_dagster_its_log_is_rotated(settings):
    log = settings.state / "dagster.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * 2_000)

    assert log_rotation.long_logs(settings) == [log]
