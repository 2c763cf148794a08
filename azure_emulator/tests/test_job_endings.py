"""Jobs have Azure's environment and end as on Azure: cancelled, at the limit, with their node, or at shutdown."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_emulator.testing.data_plane_alone import DataPlane
from azure_emulator.testing.job_runner_alone import Compute, alive, blob, data_plane, wait_until

pytestmark = [pytest.mark.azure, pytest.mark.integration]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with data_plane(tmp_path_factory.mktemp("data")) as made:
        yield made


@pytest.fixture
def compute(plane: DataPlane, tmp_path: Path) -> Iterator[Compute]:
    made = Compute(plane, tmp_path)
    yield made
    made.runner.close()
    assert list(made.folder.iterdir()) == []


LOOKING = """
import os
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import BlobClient
print("given", *sorted(os.environ))
with_id = ManagedIdentityCredential(client_id=os.environ["DEFAULT_IDENTITY_CLIENT_ID"])
address = "https://stkeyless.blob.core.windows.net"
print(BlobClient(address, "data", "greeting", credential=with_id).download_blob().readall().decode())
for wrong in ({}, {"client_id": "99999999-9999-9999-9999-999999999999"}):
    try:
        ManagedIdentityCredential(**wrong).get_token("https://storage.azure.com/.default")
    except Exception as e:
        print("refused", type(e).__name__)
"""


@pytest.fixture(scope="module")
def seen(plane: DataPlane, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the log of a job that printed its environment and requested tokens."""
    plane.store.write(blob("greeting"), b"hello from blob")
    made = Compute(plane, tmp_path_factory.mktemp("looking"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PHI_SECRET_OF_THE_SHELL", "1")
        name = made.submit(LOOKING)
        made.end_of(name)
    made.runner.close()
    return made.log(name)


def test_a_job_has_only_what_azure_gives(seen: str) -> None:
    shell = {"PWD", "SHLVL", "_"}
    given = {"AZUREML_RUN_ID", "DECLARED", "DEFAULT_IDENTITY_CLIENT_ID", "MSI_ENDPOINT", "MSI_SECRET"}
    route = {"HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}
    found = next(line for line in seen.splitlines() if line.startswith("given")).split()[1:]
    # Python adds LC_CTYPE to its own environment when there is no locale.
    assert set(found) - shell - {"LC_CTYPE"} == given | route | {"HOME", "PATH", "TMPDIR"}


def test_a_job_gets_tokens_of_its_identity_only_with_the_client_id(plane: DataPlane, seen: str) -> None:
    assert "hello from blob" in seen
    assert seen.count("refused") == 2
    found = [r for r in plane.log.find("blob", match="greeting") if r["identity"].startswith("identity-looking")]
    assert [r["status"] for r in found] == [206]


def test_a_cancelled_job_is_gone_in_five_seconds_with_all_its_children(compute: Compute, tmp_path: Path) -> None:
    name = compute.submit(
        f"""
        import os, pathlib, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        pathlib.Path({str(tmp_path / "pids")!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
        pathlib.Path(sys.argv[1], "kept").write_text("kept")
        print("up", flush=True); time.sleep(1000)
        """
    )
    wait_until(lambda: "up" in compute.log(name))
    began = time.monotonic()
    compute.runner.cancel(name)
    assert compute.end_of(name, seconds=5)[0] == "Canceled"
    assert time.monotonic() - began < 5
    assert compute.output(name) == {"kept": b"kept"}
    assert not any(alive(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_a_cancelled_job_may_end_by_itself_first(compute: Compute) -> None:
    name = compute.submit(
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(143)))
        print("up", flush=True); time.sleep(1000)
        """,
        command="python main.py; echo after",  # a shell with a child, as a launcher is
    )
    wait_until(lambda: "up" in compute.log(name))
    compute.runner.cancel(name)
    assert compute.end_of(name)[0] == "Canceled"
    assert "saved" in compute.log(name)


def test_a_job_ends_at_its_own_limit_with_nobody_watching(compute: Compute) -> None:
    name = compute.submit("print('up', flush=True); import time; time.sleep(1000)", timeout=1.5)
    status, code, message = compute.end_of(name, seconds=15)
    assert (status, code) == ("Canceled", "MaxRunDurationExceeded")
    assert "limit" in (message or "")
    assert "limit" in compute.log(name)


RESUMING = """
import pathlib, sys, time
out = pathlib.Path(sys.argv[1])
seen = sorted(int(p.name) for p in out.iterdir())
print(f"starts at {len(seen)} in {out}", flush=True)
for step in range(len(seen), 4):
    if step == 2 and not seen:
        print("waits", flush=True)
        time.sleep(1000)
    (out / str(step)).write_text(str(step))
"""


def test_after_a_lost_node_the_job_goes_on_from_its_checkpoint(compute: Compute) -> None:
    name = compute.submit(RESUMING)
    wait_until(lambda: "waits" in compute.log(name) and len(compute.output(name)) == 2)
    compute.runner.lose_node(name)
    assert compute.end_of(name)[0] == "Completed"
    assert compute.statuses(name) == ["Running", "Queued", "Running", "Finalizing", "Completed"]
    assert compute.output(name) == {str(step): str(step).encode() for step in range(4)}
    assert compute.runner.executions[name] == 2
    starts = [line for line in compute.log(name).splitlines() if line.startswith("starts")]
    assert [line.split()[2] for line in starts] == ["0", "2"]
    assert starts[0].split()[-1] != starts[1].split()[-1]  # another node, another path


def test_a_file_that_is_still_being_written_is_lost_with_the_node(compute: Compute) -> None:
    name = compute.submit(
        """
        import pathlib, sys, time
        out = pathlib.Path(sys.argv[1])
        (out / "before").write_text("whole")
        with (out / "growing").open("w") as file:
            (out / "after").write_text("follows")
            while True:
                file.write("more"); file.flush(); time.sleep(0.01)
        """
    )
    wait_until(lambda: "after" in compute.output(name))
    time.sleep(1)
    compute.runner.lose_node(name, comes_back=False)
    assert compute.end_of(name)[:2] == ("Failed", "NodeFailure")
    assert compute.output(name) == {"before": b"whole", "after": b"follows"}


def test_a_node_lost_for_good_fails_the_job(compute: Compute) -> None:
    name = compute.submit("print('up', flush=True); import time; time.sleep(1000)")
    wait_until(lambda: "up" in compute.log(name))
    compute.runner.lose_node(name, comes_back=False)
    assert compute.end_of(name)[:2] == ("Failed", "NodeFailure")


def test_after_too_many_lost_nodes_the_job_fails(compute: Compute) -> None:
    compute.runner.node_retries = 1
    name = compute.submit("print('up', flush=True); import time; time.sleep(1000)")
    for turn in (1, 2):
        wait_until(lambda turn=turn: compute.log(name).count("up") == turn)
        compute.runner.lose_node(name)
    assert compute.end_of(name)[:2] == ("Failed", "NodeFailure")


def test_a_crash_of_the_local_azure_leaves_no_job_behind(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    job = f"sleep 1000 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; sleep 1000"
    script = f"""
        import subprocess, time
        from azure_emulator.supervised_process import SupervisedProcess
        SupervisedProcess(["bash", "-c", {job!r}], subprocess.DEVNULL)
        time.sleep(1000)
        """
    caller = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    try:
        wait_until(pids.exists)
        caller.kill()
        wait_until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()), seconds=5)
    finally:
        caller.kill()
        caller.wait()


def test_the_command_is_the_process_that_is_named(compute: Compute) -> None:
    name = compute.submit("print('up', flush=True); import time; time.sleep(1000)")
    wait_until(lambda: "up" in compute.log(name))
    pid = compute.runner.process_id(name)
    assert pid
    os.kill(pid, 9)
    status, _, message = compute.end_of(name)
    assert status == "Failed"
    assert "status code 137" in (message or "")
    assert compute.runner.process_id(name) is None
