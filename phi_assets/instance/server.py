"""This home's Dagster webserver and daemon: start, find and stop them."""

import dataclasses
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil

from phi_assets import files
from phi_assets.graph.dagster_internals import runs
from phi_assets.instance.dead_runs import IN_PROGRESS
from phi_assets.instance.home import environment
from phi_assets.project import PROJECT, WORKING_FOLDER, source
from phi_assets.settings import Settings, variables

SOURCE_TREES = ("phi_assets", "dataset_code", "training_code", "evaluation_code", "serving_code", "flows")
START_SECONDS = 90
STOP_SECONDS = 20


class DagsterNotReady(RuntimeError):
    """The webserver did not start, or its code location did not load."""


@dataclass(frozen=True)
class Interface:
    """A running `dagster dev`: webserver, daemon and code server. `started` tells a reused id apart."""

    pid: int
    started: float
    port: int
    loaded: str
    foreground: bool

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def loaded_from(settings: Settings) -> str:
    """Return a digest of code and settings, which a code server loads once: another digest needs a restart."""
    written = sorted({**variables(), **environment(settings)}.items())
    code = [files.tree_sha256(source(tree)) for tree in SOURCE_TREES]
    return hashlib.sha256(f"{code}{written}".encode()).hexdigest()


def find(settings: Settings) -> Interface | None:
    """Return the home's running Dagster, or None."""
    path = _record(settings)
    if not path.is_file():
        return None
    found = Interface(**json.loads(path.read_text(encoding="utf-8")))
    return found if _alive(found) else None


def ensure(settings: Settings, log_file: Path) -> Interface:
    """Return the home's Dagster with the current code and settings; start it in the background where needed.

    Raises DagsterNotReady, with the end of its log, when it does not start.
    """
    wanted = loaded_from(settings)
    found = find(settings)
    if found and found.loaded == wanted:
        wait_until_ready(found, log_file)
        return found
    if found and found.foreground:
        raise DagsterNotReady(
            f"`phi dev` on {found.address} has other code or settings loaded; end it with Ctrl-C, then run this again"
        )
    if found:
        stop(settings)
    end_orphans(settings)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    port = free_port(settings.ui_port)
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command(port),
            cwd=WORKING_FOLDER,
            env={**os.environ, **environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=take_signals,
        )
    started = remember(settings, process.pid, port, foreground=False)
    wait_until_ready(started, log_file)
    return started


def make_way(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Stop the home's background Dagster: two daemons would start every run twice.

    Raises DagsterNotReady when it runs in another terminal, or has a run in progress.
    """
    found = find(settings)
    if found and found.foreground:
        raise DagsterNotReady(f"`phi dev` runs already, on {found.address}")
    if found and runs(instance, dg.RunsFilter(statuses=IN_PROGRESS), 1):
        raise DagsterNotReady(
            f"Dagster runs in the background, on {found.address}, with a run under way; wait for it, or `phi down`"
        )
    stop(settings)
    end_orphans(settings)


def command(port: int) -> list[str]:
    """Return the command line of `dagster dev`, which serves the UI and runs the daemon."""
    place = ["-w", str(PROJECT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
    return [sys.executable, "-m", "dagster", "dev", *place]


def remember(settings: Settings, pid: int, port: int, *, foreground: bool) -> Interface:
    """Record a started Dagster, so that other commands find it, and return it."""
    interface = Interface(pid, psutil.Process(pid).create_time(), port, loaded_from(settings), foreground)
    _record(settings).parent.mkdir(parents=True, exist_ok=True)
    _record(settings).write_text(json.dumps(dataclasses.asdict(interface)), encoding="utf-8")
    return interface


def stop(settings: Settings) -> bool:
    """Stop the home's Dagster and all its processes; return whether one was running."""
    found = find(settings)
    if not found:
        return False
    family = [psutil.Process(found.pid), *psutil.Process(found.pid).children(recursive=True)]
    family[0].send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for process in alive:
        process.kill()
    _record(settings).unlink(missing_ok=True)
    return True


def end_orphans(settings: Settings) -> None:
    """Kill processes of this home whose `dagster dev` was killed: two daemons would run at the same time."""
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("DAGSTER_HOME") == str(settings.dagster_home)
            parent = process.parent()
            abandoned = parent is None or not _is_dagster(parent)
            if ours and abandoned and _is_dagster(process) and process.pid != os.getpid():
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _is_dagster(process: psutil.Process) -> bool:
    return any(word.startswith("dagster") or "/dagster" in word for word in process.cmdline()[:5])


def wait_until_ready(interface: Interface, log_file: Path) -> None:
    """Return when the webserver answers and the code location is loaded. Raises DagsterNotReady."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        state, detail = _location_state(interface)
        if state == "loaded":
            return
        if state == "error":
            raise DagsterNotReady(f"the code location does not load:\n{detail}")
        if not _alive(interface):
            raise DagsterNotReady(f"dagster dev ended while starting; the end of {log_file}:\n{_tail(log_file)}")
        time.sleep(0.3)
    raise DagsterNotReady(f"dagster dev was not ready in {START_SECONDS} s; the end of {log_file}:\n{_tail(log_file)}")


def free_port(first: int) -> int:
    """Return the first free port from `first` on."""
    for port in range(first, min(first + 200, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise DagsterNotReady(f"no free port from {first} on; set PHI_UI_PORT")


def _location_state(interface: Interface) -> tuple[str, str]:
    import httpx

    query = (
        "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus "
        "locationOrLoadError { __typename ... on PythonError { message } } } } } }"
    )
    try:
        answer = httpx.post(f"{interface.address}/graphql", json={"query": query}, timeout=30).json()
        entry = answer["data"]["workspaceOrError"]["locationEntries"][0]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return "starting", ""
    if entry["loadStatus"] != "LOADED" or entry["locationOrLoadError"] is None:
        return "starting", ""
    failed = entry["locationOrLoadError"]["__typename"] == "PythonError"
    return ("error", entry["locationOrLoadError"]["message"]) if failed else ("loaded", "")


def _alive(interface: Interface) -> bool:
    try:
        process = psutil.Process(interface.pid)
        return abs(process.create_time() - interface.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _record(settings: Settings) -> Path:
    return settings.state / "interface.json"


def _tail(log_file: Path, lines: int = 20) -> str:
    return (
        "\n".join(log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        if log_file.is_file()
        else ""
    )


def take_signals() -> None:
    """Let this process be interrupted and terminated, whatever the shell that started it ignores."""
    # A shell's background job may ignore these signals, and children inherit that: the servers could not be stopped.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(name, signal.SIG_DFL)
