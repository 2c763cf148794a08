"""A home's Dagster whose processes are killed, and records that are damaged: `phi` tells what runs, and ends it."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from phi_assets.graph.dagster_internals import set_pool_limit
from tests.support.background import SERVERS, Background, copied, wait

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
ONE_EACH = {*SERVERS, "supervisor"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Iterator[Background]:
    its = copied(tmp_path_factory.mktemp("killed"))
    try:
        yield its
    finally:
        its.phi("down")
        its.end()


@pytest.fixture
def its(copy: Background, others: None) -> Background:
    """A home with a running Dagster."""
    copy.start()
    return copy


@pytest.fixture(scope="module")
def others(copy: Background, tmp_path_factory) -> Iterator[None]:
    """Processes that look as if they belonged to the home: whatever a test ends, they must survive."""
    home = copy.state / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").touch()
    elsewhere = str(tmp_path_factory.mktemp("another"))
    named = ["bash", "-c", "exec -a dagster-webserver sleep 2000"]
    started = [
        subprocess.Popen(["tail", "-f", str(home / "dagster.yaml")], stdout=subprocess.DEVNULL),
        subprocess.Popen(["sleep", "2000"], env={**os.environ, "DAGSTER_HOME": str(home)}),
        subprocess.Popen(named, env={**os.environ, "DAGSTER_HOME": elsewhere, "PHI_PROCESSES": "of another home"}),
    ]
    (home / "dagster.yaml").unlink()
    try:
        yield
        assert [each.poll() for each in started] == [None] * len(started)
    finally:
        for each in started:
            each.kill()
            each.wait()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def only_one_of_each(its: Background) -> bool:
    running = its.running()
    assert all(len(running.get(name, [])) <= 1 for name in ONE_EACH), running
    return set(running) >= ONE_EACH


def ui_in_status(its: Background) -> str:
    (line,) = [line for line in its.phi("status").stdout.splitlines() if line.startswith("UI")]
    return line.removeprefix("UI").strip()


def ended_by_down(its: Background) -> str:
    """Run `phi down`, which must leave no process of the home; return what it said of Dagster."""
    done = its.phi("down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert its.running() == {}
    assert not (its.state / "interface.json").exists()
    return next(line for line in done.stdout.splitlines() if " dagster " in line)


def test_a_killed_daemon_is_started_again(its: Background):
    killed = its.recorded()["daemon"]
    kill(killed)
    wait("another one", lambda: only_one_of_each(its) and its.recorded()["daemon"] != killed)


@pytest.mark.long
@pytest.mark.parametrize("server", sorted(SERVERS))
def test_a_killed_server_is_started_again_and_there_are_never_two(its: Background, server: str):
    killed = its.recorded()[server]
    kill(killed)

    wait("another one", lambda: only_one_of_each(its) and its.recorded()[server] != killed)
    wait("the definitions", its.answers)
    assert ui_in_status(its) == its.address
    before = its.recorded()
    its.start()  # finds it
    assert its.recorded() == before
    assert before[server] in its.running()[server]
    run = its.launch()
    said = ended_by_down(its)
    assert all(f"{name} ({pid})" in said for name, pid in before.items())
    assert str(killed) not in said
    its.start()
    assert its.outcome(run) == "FAILURE"


def test_when_the_supervisor_is_killed_its_servers_end_and_the_next_start_works(its: Background):
    before = its.recorded()
    kill(before["supervisor"])

    assert ui_in_status(its) == "not running"
    wait("the end of the servers", its.ended, 40)
    assert "were not running" in ended_by_down(its)
    its.start()
    assert only_one_of_each(its)
    assert not set(its.recorded().values()) & set(before.values())


@pytest.mark.long
def test_down_right_after_the_supervisor_was_killed_ends_the_servers_and_a_run(its: Background):
    run = its.launch()
    before = its.recorded()
    kill(before.pop("supervisor"))

    said = ended_by_down(its)
    assert "supervisor" not in said
    its.start()
    assert its.outcome(run) == "FAILURE"


@pytest.mark.long
def test_a_start_right_after_the_supervisor_was_killed_leaves_one_of_each(its: Background):
    its.launch()
    kill(its.recorded()["supervisor"])
    its.start()
    assert only_one_of_each(its)
    assert its.answers()


@pytest.mark.long
def test_a_killed_run_is_marked_as_failed_and_the_servers_stay(its: Background):
    before = its.recorded()
    run = its.launch()
    with its.instance() as instance:
        told = [entry.message + (entry.user_message or "") for entry in instance.all_logs(run)]
    (line,) = [line for line in told if "(pid: " in line][:1]
    kill(int(line.partition("(pid: ")[2].partition(")")[0]))

    assert ui_in_status(its) == its.address
    its.start()
    assert its.outcome(run) == "FAILURE"
    assert its.recorded() == before
    counted = its.numbers(run)
    assert its.numbers(its.launch()) > 0
    assert its.numbers(run) == counted


@pytest.mark.long
def test_a_run_survives_the_end_of_daemon_and_webserver(its: Background):
    run = its.launch()
    for server in ("daemon", "webserver"):
        kill(its.recorded()[server])
    counted = its.numbers(run)
    wait("more numbers", lambda: its.numbers(run) > counted + 5)
    wait("the servers", lambda: only_one_of_each(its) and its.answers())
    assert its.outcome(run) == "STARTED"


@pytest.mark.long
@pytest.mark.parametrize("damage", ["missing", "empty", "{", "[]", '{"supervisor": 1, "servers": {}}'])
def test_down_ends_a_dagster_whose_record_is_damaged_or_missing(its: Background, damage: str):
    running = its.running()
    file = its.state / "interface.json"
    file.unlink()
    if damage != "missing":
        file.write_text("" if damage == "empty" else damage, encoding="utf-8")
        done = its.phi("status")
        assert done.returncode == 1
        assert str(file) in done.stderr
        assert "Traceback" not in done.stderr

    said = ended_by_down(its)
    assert all(str(running[name][0]) in said for name in ONE_EACH)


@pytest.mark.long
@pytest.mark.parametrize(
    "content", [b"", b"another\n", b"\xff\xfe", None], ids=["empty", "another", "bytes", "missing"]
)
def test_down_ends_what_is_recorded_and_its_runs_when_the_token_file_is_damaged(its: Background, content):
    running, run = its.recorded(), its.launch()
    file = its.state / "processes.token"
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    said = ended_by_down(its)
    assert all(f"{name} ({pid})" in said for name, pid in running.items())
    its.start()
    assert its.outcome(run) == "FAILURE"


@pytest.mark.long
def test_a_start_with_a_damaged_token_file_leaves_one_of_each(its: Background):
    (its.state / "processes.token").write_bytes(b"\xff")
    its.launch()
    kill(its.recorded()["supervisor"])
    its.start()
    assert only_one_of_each(its)


@pytest.mark.long
@pytest.mark.parametrize("command", [["dagster-daemon", "run"], ["dagster", "dev"]], ids=" ".join)
def test_a_dagster_that_phi_did_not_start_is_refused_and_survives(copy: Background, others, command: list[str]):
    copy.phi("down")
    workspace = copy.project / "workspace.yaml"
    home = copy.state / "dagster"
    foreign = subprocess.Popen(
        [str(Path(sys.executable).with_name(command[0])), *command[1:], "-w", str(workspace)],
        cwd=copy.project,
        env={**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(copy.project)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for name in ("dev", "run"):
            done = copy.phi(name)
            assert done.returncode == 1, done.stdout
            assert done.stderr.count("\n") == 1, done.stderr
            assert f"process {foreign.pid} (" in done.stderr
            assert "was not started by `phi`" in done.stderr
        assert "were not running" in copy.phi("down").stdout
        assert foreign.poll() is None
        assert copy.running() == {}
    finally:
        family = [psutil.Process(foreign.pid), *psutil.Process(foreign.pid).children(recursive=True)]
        for each in family:
            with suppress(psutil.Error):
                each.kill()
        foreign.wait()


def test_what_an_operator_configured_is_kept(copy: Background):
    file = copy.state / "dagster" / "dagster.yaml"
    copy.phi("status")
    shipped = file.read_bytes()
    own = shipped.replace(b"max_concurrent_runs: 4", b"max_concurrent_runs: 2 # of the operator") + b"\n\n"
    file.write_bytes(own)
    try:
        with copy.instance() as instance:
            instance.event_log_storage.set_concurrency_slots("training", 3)
            set_pool_limit(instance, "training", 1)
        copy.phi("status")  # opens the home as every command does
        with copy.instance() as instance:
            limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        assert limits["training"] == 3
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(own).digest()
    finally:
        file.write_bytes(shipped)


@pytest.mark.long
def test_of_two_dev_commands_at_once_one_serves(copy: Background, others):
    copy.phi("down")
    both = [copy.popen("dev"), copy.popen("dev")]
    try:
        wait("the end of one", lambda: any(each.poll() is not None for each in both))
        wait("the servers", lambda: only_one_of_each(copy) and copy.answers(), 90)
        (refused,) = [each for each in both if each.poll() is not None]
        (serves,) = [each for each in both if each.poll() is None]
        assert refused.returncode == 1
        assert refused.stdout
        assert "`phi dev` runs already" in refused.stdout.read().splitlines()[-1]
        assert copy.recorded()["supervisor"] == serves.pid
        assert f"`phi dev` runs already, on {copy.address}" in copy.phi("dev").stderr
        serves.send_signal(signal.SIGINT)
        assert serves.wait(40) == 0
        assert copy.running() == {}
    finally:
        for each in both:
            each.kill()
            each.communicate()
