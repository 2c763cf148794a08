"""Two hosts that need the same job on the local Azure: one waits, and takes over when the other is killed."""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.infrastructure import compute, training_environment
from phi_assets.backends.azure.jobs.logs import log_path
from phi_assets.backends.azure.storage import blob_lease
from tests.support.azure_jobs import MARKS, Outcome, Work, until
from tests.support.azure_place import Place

pytestmark = MARKS
RECIPES = itertools.count(1)


@pytest.fixture(scope="module")
def hosts(control: Control, tmp_path_factory) -> tuple[Work, Work]:
    """Two homes of one project."""
    credential.forget()
    place = Place(control, tmp_path_factory.mktemp("first"))
    place.deploy()
    compute.ensure(place.clients, compute.Cluster("Standard_NC24ads_A100_v4", 1, 5), place.log)
    training_environment.ensure(place.clients, 0.5, place.log)
    return Work(place), Work(Place(control, tmp_path_factory.mktemp("second")))


@pytest.fixture
def first(hosts: tuple[Work, Work], tmp_path: Path) -> Work:
    mine = of(hosts[0], next(RECIPES))
    mine.command = f"until [ -e {tmp_path / 'go'} ]; do sleep 0.1; done"
    return mine


@pytest.fixture
def second(hosts: tuple[Work, Work], first: Work) -> Work:
    mine = of(hosts[1], first.recipe)
    mine.command = first.command
    return mine


def of(host: Work, recipe: int) -> Work:
    return Work(host.place, recipe)


def running(work: Work) -> str:
    return until(lambda: work.executed() and work.job_name())


def with_other(second: Work, meanwhile: Callable[[], None]) -> Outcome:
    """Return how the second host's run ended, which waits while `meanwhile` is called."""
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(second.run_command)
        meanwhile()
        return ended.result()


def tried(second: Work, times: int = 2) -> None:
    """Return when the second host was refused the lease this many times."""

    def refused() -> bool:
        found = second.control.requests(service="blob", match=f"{blob_lease.ROOT}train-job")
        return len([each for each in found if each["verb"] == "PUT" and each["status"] == 409]) >= times

    until(refused)


@pytest.mark.parametrize("seconds", [15, pytest.param(60, marks=pytest.mark.long)])  # Azure's shortest and longest
def test_a_job_whose_host_was_killed_is_taken_over_within_two_minutes_and_paid_once(
    first: Work, second: Work, tmp_path: Path, monkeypatch, seconds: int
):
    monkeypatch.setattr(blob_lease, "SECONDS", seconds)
    with first.step_process() as process:
        name = running(first)
        first.control.forget_requests()
        took = 0.0

        def kill() -> None:
            nonlocal took
            try:
                tried(second)
                process.kill()
                process.wait()
                killed = time.monotonic()
                first.control.forget_requests()
                until(lambda: first.control.requests(service="blob", match=log_path(name)), 120)
                took = time.monotonic() - killed
            finally:
                (tmp_path / "go").touch()

        outcome = with_other(second, kill)
    assert outcome.success, outcome.failure
    assert 0 < took < 120
    assert first.executed() == [name]
    assert any("adopting job" in line for line in outcome.lines)
    assert any("waiting for the lease on train jobs: run " in line for line in outcome.lines), outcome.lines


@pytest.mark.long
def test_a_job_of_a_host_that_lives_is_waited_for_and_its_result_is_used(first: Work, second: Work, tmp_path: Path):
    with first.step_process() as process:
        name = running(first)
        first.control.forget_requests()

        def let_it_end() -> None:
            try:
                tried(second)
            finally:
                (tmp_path / "go").touch()

        outcome = with_other(second, let_it_end)
        assert process.wait(60) == 0
    assert outcome.success, outcome.failure
    assert any("reusing the result of completed job" in line for line in outcome.lines)
    assert not any("adopting" in line for line in outcome.lines)
    assert first.executed() == [name]
