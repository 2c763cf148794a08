"""Jobs really run, with the inputs, outputs and environment that Azure gives."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_emulator.jobs import JobInput, JobOutput
from azure_emulator.testing.data_plane_alone import CONTRIBUTOR, READER, DataPlane
from azure_emulator.testing.job_runner_alone import Compute, blob, data_plane, wait_until

pytestmark = [pytest.mark.long, pytest.mark.azure, pytest.mark.integration]


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


def test_a_job_reads_its_inputs_and_its_output_is_kept(compute: Compute) -> None:
    compute.plane.store.write(blob("in/folder/x.txt"), b"eks")
    compute.plane.store.write(blob("in/folder/deep/y.txt"), b"why")
    name = compute.submit(
        """
        import pathlib, sys
        out, folder, file, number = sys.argv[1:]
        print(pathlib.Path(file).read_text(), (pathlib.Path(folder) / "deep" / "y.txt").read_text(), number)
        pathlib.Path(out, "made").mkdir()
        pathlib.Path(out, "made", "result.txt").write_text("done")
        """,
        inputs={
            "folder": JobInput("uri_folder", blob("in/folder")),
            "file": JobInput("uri_file", blob("in/folder/x.txt")),
            "number": JobInput("literal", "7"),
        },
    )
    assert compute.end_of(name)[0] == "Completed"
    assert compute.statuses(name) == ["Running", "Finalizing", "Completed"]
    assert compute.log(name) == "eks why 7\n"
    assert compute.output(name) == {"made/result.txt": b"done"}
    assert compute.runner.executions[name] == 1


def test_output_is_readable_while_the_job_runs(compute: Compute) -> None:
    name = compute.submit("print('early', flush=True); import time; time.sleep(60)")
    wait_until(lambda: "early" in compute.log(name), seconds=10)
    assert compute.runner.is_running(name)
    compute.runner.cancel(name)
    compute.end_of(name)


def test_a_failed_job_says_its_exit_code_and_last_words(compute: Compute) -> None:
    name = compute.submit("import sys; print('before'); sys.exit('it broke')")
    status, code, message = compute.end_of(name)
    assert (status, code) == ("Failed", "UserError")
    assert "exited with status code 1" in (message or "")
    assert "it broke" in (message or "")


def test_a_job_name_is_executed_once(compute: Compute) -> None:
    name = compute.submit("")
    compute.end_of(name)
    with pytest.raises(ValueError, match="executed already"):
        compute.submit("", name=name)


def test_a_checkpoint_reaches_blob_within_a_second_or_two(compute: Compute) -> None:
    name = compute.submit(
        """
        import pathlib, sys, time
        out = pathlib.Path(sys.argv[1])
        (out / "one").write_text("1"); time.sleep(1.5)
        (out / "one").rename(out / "two"); time.sleep(1.5)
        (out / "two").unlink(); time.sleep(60)
        """
    )
    wait_until(lambda: compute.output(name) == {"one": b"1"}, 10)
    wait_until(lambda: compute.output(name) == {"two": b"1"}, 10)
    wait_until(lambda: compute.output(name) == {}, 10)
    compute.runner.cancel(name)
    compute.end_of(name)


def test_an_upload_comes_at_the_end_only(compute: Compute) -> None:
    name = compute.submit(
        """
        import pathlib, sys, time
        pathlib.Path(sys.argv[1], "x").write_text("x")
        print("written", flush=True); time.sleep(2)
        """,
        mode="Upload",
    )
    wait_until(lambda: "written" in compute.log(name))
    time.sleep(1)
    assert compute.output(name) == {}
    compute.end_of(name)
    assert compute.output(name) == {"x": b"x"}


def test_a_job_without_an_identity_has_no_endpoint(compute: Compute) -> None:
    name = compute.submit(
        "import os; print('MSI_ENDPOINT' in os.environ)",
        identity_oid=None,
        identity_client_id=None,
        identity_based_data=False,
    )
    compute.end_of(name)
    assert compute.log(name) == "False\n"


def test_an_identity_that_may_not_read_fails_the_job_by_name(compute: Compute) -> None:
    name = compute.submit("print('never')", identity_oid="nobody")
    status, code, message = compute.end_of(name)
    assert (status, code) == ("Failed", "ScriptExecution.StreamAccess.Authentication")
    assert "AuthorizationPermissionMismatch" in (message or "")
    assert "id-test" in (message or "")
    assert compute.runner.executions[name] == 0


def test_an_identity_that_may_only_read_cannot_have_an_output(compute: Compute) -> None:
    compute.plane.give("only-reads", READER)
    name = compute.submit("", identity_oid="only-reads")
    assert compute.end_of(name)[:2] == ("Failed", "ScriptExecution.WriteStreams.Authentication")


def test_a_role_lost_while_the_job_runs_fails_its_output(compute: Compute) -> None:
    compute.plane.give("soon-gone", READER)
    assigned = compute.plane.give("soon-gone", CONTRIBUTOR)
    name = compute.submit(
        """
        import pathlib, sys, time
        out = pathlib.Path(sys.argv[1])
        (out / "first").write_text("1"); time.sleep(2); (out / "second").write_text("2")
        """,
        identity_oid="soon-gone",
    )
    wait_until(lambda: "first" in compute.output(name))
    compute.plane.take(assigned)
    assert compute.end_of(name)[:2] == ("Failed", "ScriptExecution.WriteStreams.Authentication")
    assert compute.output(name) == {"first": b"1"}


def test_with_an_account_key_in_the_datastore_no_role_is_needed(compute: Compute) -> None:
    name = compute.submit("", identity_oid="nobody", identity_based_data=False)
    assert compute.end_of(name)[0] == "Completed"


def test_a_missing_input_is_named(compute: Compute) -> None:
    name = compute.submit("", inputs={"data": JobInput("uri_folder", blob("nowhere"))})
    status, code, message = compute.end_of(name)
    assert (status, code) == ("Failed", "ScriptExecution.StreamAccess.NotFound")
    assert "/data/nowhere" in (message or "")


def test_a_large_checkpoint_is_there_at_the_next_start(compute: Compute) -> None:
    script = """
        import pathlib, sys
        file = pathlib.Path(sys.argv[1], "weights")
        if file.exists():
            print("found", file.stat().st_size)
        else:
            with file.open("wb") as out:
                for n in range(100): out.write(bytes([n]) * 2**20)
        """
    first = compute.submit(script)
    assert compute.end_of(first)[0] == "Completed"
    target = {"out": JobOutput(blob(f"out/{first}"), "ReadWriteMount")}
    second = compute.submit(script, outputs=target)
    compute.end_of(second)
    assert compute.log(second) == f"found {100 * 2**20}\n"


def test_many_jobs_run_at_once(compute: Compute) -> None:
    names = [compute.submit("print('up', flush=True); import time; time.sleep(60)") for _ in range(4)]
    wait_until(lambda: all("up" in compute.log(name) for name in names))
    for name in names:
        compute.runner.cancel(name)
    assert {compute.end_of(name)[0] for name in names} == {"Canceled"}
    assert threading.active_count() < 60
