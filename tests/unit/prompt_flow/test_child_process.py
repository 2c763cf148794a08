"""A child for Prompt flow: its reply, its failures, and that nothing of it is left."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from phi_assets.prompt_flow.child_process import PromptFlowFailed, run_child

REPOSITORY = Path(__file__).resolve().parents[3]
# Each starts a worker that would sleep on, as Prompt flow's batch runs and servers do.
CHILD = """
import os, subprocess, sys, tempfile, time
from phi_assets.prompt_flow.child_process import answer_request, report_progress

def handle(request):
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    report_progress(f"{os.getpid()} {worker.pid}")
    print("some noise with", request.get("key"), flush=True)
    if request["do"] == "reply":
        return {"sum": request["a"] + request["b"], "left": tempfile.mkdtemp()}
    if request["do"] == "raise":
        raise ValueError(f"wrong key {request['key']}")
    if request["do"] == "exit":
        os._exit(3)
    time.sleep(600)

if __name__ == "__main__":
    answer_request(handle)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "worker_child.py").write_text(CHILD)
    return {**os.environ, "VIRTUAL_ENV": sys.prefix, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}


def test_a_child_replies_and_its_workers_end_with_it(environment):
    pids: list[str] = []
    reply = run_child("worker_child", {"do": "reply", "a": 2, "b": 3}, environment, log=pids.append)
    assert reply["sum"] == 5
    assert not Path(reply["left"]).exists(), "a temporary folder that it did not remove"
    _assert_gone(pids)


def test_the_error_of_a_child_is_raised_without_the_secret_in_it(environment):
    with pytest.raises(PromptFlowFailed, match=r"^wrong key \*\*\*$"):
        run_child("worker_child", {"do": "raise", "key": "s3cret"}, environment, secrets=["s3cret"])


def test_a_child_that_ends_without_a_reply_is_reported_with_its_last_lines_less_secrets(environment):
    pids: list[str] = []
    with pytest.raises(PromptFlowFailed, match=r"ended with code 3 and no reply(.|\n)*some noise with \*\*\*"):
        run_child("worker_child", {"do": "exit", "key": "s3cret"}, environment, secrets=["s3cret"], log=pids.append)
    _assert_gone(pids)


def test_a_child_that_takes_too_long_is_stopped_with_its_workers(environment):
    pids: list[str] = []
    with pytest.raises(PromptFlowFailed, match="longer than 3 s and was stopped"):
        run_child("worker_child", {"do": "hang"}, environment, timeout_s=3, log=pids.append)
    _assert_gone(pids)


def test_an_interruption_while_a_child_works_leaves_nothing_of_it(environment):
    pids: list[str] = []

    def interrupt(line: str) -> None:
        pids.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child("worker_child", {"do": "hang"}, environment, log=interrupt)
    _assert_gone(pids)


def test_a_child_ends_with_its_workers_when_the_process_that_asked_is_killed(environment, tmp_path):
    program = (
        "from phi_assets.prompt_flow.child_process import run_child; import os;"
        "run_child('worker_child', {'do': 'hang'}, os.environ, log=lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout
        pids = [asker.stdout.readline()]
        asker.kill()
    _assert_gone(pids)


def _assert_gone(lines: list[str]) -> None:
    pids = [int(pid) for pid in " ".join(lines).split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 30
    while (alive := [pid for pid in pids if _is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive == []


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
