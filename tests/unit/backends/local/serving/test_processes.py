"""Server processes are found, and stopped, by whoever comes later; no other process ever is."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from phi_assets.backends.local.serving.processes import AlreadyRunning, ServerProcess
from tests.support.local_endpoint import until

POLITE = "import time\nprint('here', flush=True)\ntime.sleep(600)"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('here', flush=True)\ntime.sleep(600)"
)


@pytest.fixture
def process(tmp_path):
    made = ServerProcess(tmp_path, "blue")
    yield made
    made.stop(0.1)


def start(process: ServerProcess, code: str = POLITE) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process.start([sys.executable, "-c", code], listener=listener, environment=os.environ, cwd=Path("/"))


def test_a_started_server_is_alive_with_its_own_id_and_is_nobodys_child(process):
    start(process)
    until(lambda: "here" in process.log_tail())

    pid = process.pid()
    assert process.alive()
    assert pid is not None
    os.kill(pid, 0)
    assert Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[1] != str(os.getpid())


def test_stopping_ends_it_and_stopping_again_does_nothing(process):
    start(process)
    pid = process.pid()

    process.stop(10)
    process.stop(10)

    assert not process.alive()
    assert process.pid() is None
    # Where nobody collects orphans, as in a container without an init, its entry stays in the table.
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_server_that_ignores_the_signal_is_killed(process):
    start(process, STUBBORN)
    until(lambda: "here" in process.log_tail())

    process.stop(0.5)

    assert not process.alive()


def test_another_process_with_the_recorded_id_is_never_touched(process, tmp_path):
    start(process)
    os.kill(process.pid(), signal.SIGKILL)
    until(lambda: not process.alive())
    bystander = subprocess.Popen([sys.executable, "-c", POLITE], stdout=subprocess.DEVNULL)
    try:
        (tmp_path / "blue.lock").write_text(str(bystander.pid))

        process.stop(1)

        assert not process.alive()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_the_server_outlives_its_starter_even_when_that_is_killed(tmp_path):
    starter = (
        "import os, signal, socket, sys\nfrom pathlib import Path\n"
        "from phi_assets.backends.local.serving.processes import ServerProcess\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        f"process = ServerProcess(Path({str(tmp_path)!r}), 'blue')\n"
        f"process.start([sys.executable, '-c', {POLITE!r}], listener=listener, environment=os.environ, cwd=Path('/'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", starter], cwd=Path(__file__).resolve().parents[5], check=False)

    process = ServerProcess(tmp_path, "blue")
    assert process.alive()
    process.stop(10)
    assert not process.alive()


def test_two_of_one_name_cannot_run(process):
    start(process)

    with pytest.raises(AlreadyRunning, match="blue runs already"):
        start(process)


def test_the_log_tail_is_the_end_of_the_log_and_the_log_before_is_kept(process, tmp_path):
    start(process, "for n in range(100): print('line', n)")
    until(lambda: not process.alive())

    assert process.log_tail(2) == "line 98\nline 99"
    start(process, "pass")
    assert "line 99" in (tmp_path / "blue.log.1").read_text()


def test_the_log_and_the_record_are_only_for_the_owner(process, tmp_path):
    start(process)

    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o600"}
