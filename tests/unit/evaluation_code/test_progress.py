"""Lines of progress."""

import threading
import time

import pytest

from evaluation_code.pipes import progress_log
from evaluation_code.progress import Progress, heartbeat


def test_a_long_step_is_said_again_while_it_is_under_way():
    lines: list[str] = []
    three = threading.Event()

    def log(line: str) -> None:
        lines.append(line)
        if len(lines) >= 3:
            three.set()

    progress = Progress(log, quiet_seconds=0.02)
    with heartbeat(progress, every=0.01):
        progress.begin("base: answering")
        assert three.wait(timeout=30)
    assert lines[0] == "base: answering"
    assert lines[1].startswith("base: answering: ")
    said = len(lines)
    time.sleep(0.1)
    assert len(lines) == said


def test_counts_are_said_at_the_end_and_not_at_every_row():
    lines: list[str] = []
    progress = Progress(lines.append, quiet_seconds=1000)
    progress.begin("base: scoring")
    for done in range(1, 31):
        progress.done(done, 30)
    assert lines == ["base: scoring", "base: scoring: 30 of 30"]


def test_without_an_orchestrator_progress_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("DAGSTER_PIPES_CONTEXT", raising=False)
    with progress_log() as log:
        log("half way")
    assert capsys.readouterr().out == "half way\n"
