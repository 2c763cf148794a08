"""A home's Dagster as `phi run` starts it, of a copy of the project with a job that counts slowly."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psutil

from phi_assets.graph.dagster_internals import open_instance
from tests.support.project_copy import with_own_definitions
from tests.support.server_process import free_port

SLOW = """
import time

import dagster as dg


@dg.op
def count(context: dg.OpExecutionContext) -> None:
    for number in range(600):
        context.log.info(f"the number is {number}")
        time.sleep(0.5)


@dg.job
def counting() -> None:
    count()
"""
# What `phi run` does before it makes the graph.
START = """
from phi_assets.instance import dead_runs, home, server
from phi_assets.settings import current

settings = current()
with home.only_one(settings, "run"), home.instance(settings) as instance:
    server.ensure(settings, settings.state / "dagster.log")
    dead_runs.fail_dead_runs(instance)
"""
LAUNCH = """
mutation { launchRun(executionParams: {selector: {repositoryLocationName: "phi_assets",
repositoryName: "__repository__", jobName: "counting"}}) { __typename ... on LaunchRunSuccess { run { runId } } } }
"""
LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
SERVERS = {"code-server", "webserver", "daemon"}


@dataclass(frozen=True)
class Background:
    """A home, the copy of the project that is used with it, and `phi` commands on it."""

    project: Path
    home: Path
    port: int

    @property
    def variables(self) -> dict[str, str]:
        return {
            "PHI_HOME": str(self.home),
            "PHI_UI_PORT": str(self.port),
            "PHI_AUTOMATION": "off",
            "PYTHONPATH": str(self.project),
        }

    @property
    def state(self) -> Path:
        return self.home / "local"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.project,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def phi(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "phi_assets.cli.main", *words)

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start a `phi` command, and do not wait for its end; its output goes to stdout."""
        return subprocess.Popen(
            [sys.executable, "-m", "phi_assets.cli.main", *words],
            cwd=self.project,
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self) -> None:
        """Start Dagster as `phi run` does, which marks runs as failed whose process ended."""
        done = self.python("-c", START)
        assert done.returncode == 0, done.stdout + done.stderr

    def recorded(self) -> dict[str, int]:
        """Return the process ids in the record of the running Dagster, by name."""
        found = json.loads((self.state / "interface.json").read_text(encoding="utf-8"))
        return {
            "supervisor": found["supervisor"]["pid"],
            **{name: its["pid"] for name, its in found["servers"].items()},
        }

    @property
    def workspace(self) -> Path:
        """The workspace file of the running Dagster, which names its code server."""
        return Path(json.loads((self.state / "interface.json").read_text(encoding="utf-8"))["folder"], "workspace.yaml")

    def running(self) -> dict[str, list[int]]:
        """Return the processes of Dagster on this home by name, known by their environment and command line."""
        found: dict[str, list[int]] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("PHI_HOME") == str(self.home) and process.status() != psutil.STATUS_ZOMBIE:
                    found.setdefault(_name(process.cmdline()), []).append(process.pid)
        return found

    def ask(self, query: str) -> Any:
        """Ask Dagster's GraphQL as a program of this machine does."""
        answer = httpx.post(f"{self.address}/graphql", json={"query": query}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def answers(self) -> bool:
        """Return whether the webserver answers, with the definitions loaded."""
        try:
            return "__repository__" in str(self.ask(LOADED))
        except (httpx.HTTPError, ValueError):
            return False

    def launch(self) -> str:
        """Start the job that counts; return the run's id once it counts."""
        launched = self.ask(LAUNCH)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run = launched["run"]["runId"]
        wait("the run's first number", lambda: self.numbers(run))
        return run

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with open_instance(self.state / "dagster") as opened:
            yield opened

    def numbers(self, run: str) -> int:
        """Return how many numbers the run has counted."""
        with self.instance() as instance:
            return sum("the number is" in (entry.user_message or "") for entry in instance.all_logs(run))

    def outcome(self, run: str) -> str:
        with self.instance() as instance:
            found = instance.get_run_by_id(run)
        assert found
        return found.status.value

    def ended(self) -> bool:
        return not self.running()

    def end(self) -> None:
        """Kill what is left of this home's processes."""
        for pids in self.running().values():
            for pid in pids:
                with suppress(psutil.Error):
                    psutil.Process(pid).kill()


def copied(folder: Path) -> Background:
    """Copy the project, with the job `counting` and definitions of a user, and return it with an empty home."""
    project = with_own_definitions(folder / "project")
    (project / "phi_assets" / "defs" / "mine" / "slow.py").write_text(SLOW, encoding="utf-8")
    return Background(project, folder / "home", free_port())


def wait(what: str, until: Callable[[], Any], seconds: float = 60) -> Any:
    """Poll `until` and return its first true value; fail after the seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = until()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def _name(words: list[str]) -> str:
    """Return a process's name: one of Dagster's servers, `supervisor`, `grpc`, or its command line."""
    if "phi_assets.instance.dagster_process" in words:
        return words[words.index("phi_assets.instance.dagster_process") + 2]
    if "phi_assets.instance.supervisor" in words:
        return "supervisor"
    if "grpc" in words:
        return "grpc"
    return " ".join(words[:4])
