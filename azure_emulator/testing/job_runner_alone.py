"""A job runner on a data plane, for the tests of jobs."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError

from azure_emulator.blob_storage.azurite import AzuriteMissing
from azure_emulator.blob_storage.blob_path import BlobPath
from azure_emulator.jobs import JobInput, JobOutput, JobRun, JobRunner, Status
from azure_emulator.testing.data_plane_alone import CONTRIBUTOR, KEYLESS, DataPlane, running

CLIENT = "33333333-3333-3333-3333-333333333333"
Report = tuple[Status, str | None, str | None]


class Compute:
    """A runner, and what it has reported on each job."""

    def __init__(self, plane: DataPlane, folder: Path) -> None:
        self.plane = plane
        self.folder = folder / "nodes"
        self.runner = JobRunner(
            self.folder,
            Path(sys.executable),
            plane.store,
            plane.authorization.allows,
            plane.scope,
            plane.tokens.issue,
            plane.environment,
        )
        self.reports: dict[str, list[Report]] = {}
        self._names = iter(range(10_000))
        self.identity = f"identity-{folder.name}"
        plane.give(self.identity, CONTRIBUTOR)

    def submit(
        self,
        script: str,
        name: str = "",
        inputs: Mapping[str, JobInput] | None = None,
        mode: str = "ReadWriteMount",
        timeout: float | None = None,
        **changed: object,
    ) -> str:
        """A job that runs the Python script, with an output named `out`; its name."""
        name = name or f"job-{self.folder.parent.name}-{next(self._names)}"
        self.plane.store.write(blob(f"code/{name}/main.py"), textwrap.dedent(script).encode())
        given = inputs or {}
        words = "".join(f" ${{{{inputs.{key}}}}}" for key in given)
        parts: dict[str, object] = {
            "id": name,
            "name": name,
            "command": f"python main.py ${{{{outputs.out}}}}{words}",
            "code": blob(f"code/{name}"),
            "inputs": given,
            "outputs": {"out": JobOutput(blob(f"out/{name}"), mode)},  # type: ignore[arg-type]
            "environment_variables": {"DECLARED": "yes"},
            "identity_oid": self.identity,
            "identity_client_id": CLIENT,
            "timeout_seconds": timeout,
            "log": BlobPath(KEYLESS, "azureml", f"ExperimentRun/dcid.{name}/user_logs/std_log.txt"),
            "identity_name": "id-test",
        }
        reports = self.reports[name] = []
        self.runner.start(JobRun(**(parts | changed)), lambda *report: reports.append(report))  # type: ignore[arg-type]
        return name

    def end_of(self, name: str, seconds: float = 30) -> Report:
        wait_until(lambda: bool(self.reports[name]) and self.reports[name][-1][0] in ENDS, seconds)
        wait_until(lambda: not self.runner.is_running(name))
        return self.reports[name][-1]

    def statuses(self, name: str) -> list[str]:
        return [status for status, _, _ in self.reports[name]]

    def log(self, name: str) -> str:
        path = BlobPath(KEYLESS, "azureml", f"ExperimentRun/dcid.{name}/user_logs/std_log.txt")
        return self.plane.store.read(path).decode() if self.plane.store.exists(path) else ""

    def output(self, name: str) -> dict[str, bytes]:
        """What the job's output folder holds; a file that goes between listing and reading is not in it."""
        prefix, found = f"out/{name}/", {}
        for item in list(self.plane.store.list(blob(prefix))):
            with suppress(ResourceNotFoundError):
                found[item.path.removeprefix(prefix)] = self.plane.store.read(blob(item.path))
        return found


ENDS = ("Completed", "Failed", "Canceled")


def blob(path: str) -> BlobPath:
    return BlobPath(KEYLESS, "data", path)


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def data_plane(folder: Path) -> Iterator[DataPlane]:
    """A data plane with the two containers that jobs use; the test is skipped where Azurite is not installed."""
    try:
        with running(folder) as made:
            for container in ("data", "azureml"):
                made.gate.ensure_container(KEYLESS, container)
            yield made
    except AzuriteMissing as e:
        pytest.skip(str(e))
