"""Fixtures: Chromium, and a real Dagster UI."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from phi_assets.project import PROJECT
from tests.support.chromium import chromium

START_SECONDS = 120


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator:
    """Debian's Chromium, driven by Selenium."""
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def phi_dev(tmp_path_factory) -> Iterator[str]:
    """The address of a `phi dev` with its own home."""
    port = free_port()
    command = [sys.executable, "-m", "phi_assets.cli.main", "dev"]
    process = start_dagster(command, tmp_path_factory.mktemp("home"), PHI_UI_PORT=str(port))
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_loaded(process, address)
        yield address
    finally:
        end(process)


@pytest.fixture(scope="module")
def dg_dev(tmp_path_factory) -> Iterator[str]:
    """The address of a `dg dev` with its own home."""
    home = tmp_path_factory.mktemp("home")
    port = free_port()
    process = start_dagster(["dg", "dev", "--host", "127.0.0.1", "--port", str(port)], home)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_loaded(process, address)
        yield address
    finally:
        end(process)


def start_dagster(command: list[str], home: Path, **variables: str) -> subprocess.Popen:
    """Start one of Dagster's commands in the project's folder, with this home."""
    dagster_home = home / "local" / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / "dagster.yaml", dagster_home)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PHI_")},
        "DAGSTER_HOME": str(dagster_home),
        "PHI_HOME": str(home),
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        **variables,
    }
    with (home / "dagster.log").open("wb") as log:
        return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT)


def location_names(address: str) -> list[str]:
    """Return the names of the loaded code locations."""
    query = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
    try:
        answer = httpx.post(f"{address}/graphql", json={"query": query}, timeout=30).json()
    except (httpx.HTTPError, ValueError):
        return []
    entries = answer["data"]["workspaceOrError"]["locationEntries"]
    return [entry["name"] for entry in entries if entry["loadStatus"] == "LOADED"]


def wait_until_loaded(process: subprocess.Popen, address: str) -> list[str]:
    """Wait until a code location has loaded; return the names. Fails when Dagster ends, or after START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = location_names(address)
        if found:
            return found
        assert process.poll() is None, "dagster ended while starting"
        time.sleep(0.5)
    pytest.fail(f"the location did not load in {START_SECONDS} s")


def end(process: subprocess.Popen) -> None:
    """End the process and its descendants."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(family, timeout=20)
    for left in alive:
        left.kill()
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
