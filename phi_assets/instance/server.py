"""This home's Dagster webserver and daemon: start, find and stop them."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import dagster as dg
import psutil

from phi_assets import child_environment, faults, files, own_processes
from phi_assets.files import DamagedFile, atomic_write
from phi_assets.graph.dagster_internals import runs
from phi_assets.instance import dagster_record
from phi_assets.instance.dagster_record import Interface, find
from phi_assets.instance.dead_runs import IN_PROGRESS
from phi_assets.instance.home import Busy, environment, is_at_work, only_one
from phi_assets.instance.supervisor import SOCKET_FOLDER
from phi_assets.own_processes import VARIABLE, Process
from phi_assets.project import WORKING_FOLDER, source
from phi_assets.settings import Settings, variables

SOURCE_TREES = ("phi_assets", "chat_code", "dataset_code", "training_code", "evaluation_code", "serving_code", "flows")
SERVERS = frozenset({"dagster-daemon", "dagster-webserver", "dagster._daemon", "dagster_webserver"})
DEV = "dev"
"""The lock of `phi dev`."""
START_SECONDS = 90
STOP_SECONDS = 20


class DagsterNotReady(RuntimeError):
    """The webserver did not start, or its code location did not load."""


def loaded_from(settings: Settings) -> str:
    """Return a digest of code and settings, which a code server loads once: another digest needs a restart."""
    written = sorted({**variables(), **environment(settings)}.items())
    code = [files.tree_sha256(source(tree)) for tree in SOURCE_TREES]
    return hashlib.sha256(f"{code}{written}".encode()).hexdigest()


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
    if not found and is_at_work(settings, DEV):
        raise DagsterNotReady(f"`phi dev` is starting on {settings.home}; run this again when its UI answers")
    stop(settings)
    refuse_foreign(settings)
    atomic_write(log_file, "")
    port = free_port(settings.ui_port)
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command(port, wanted, "background"),
            cwd=WORKING_FOLDER,
            env=variables_of_servers(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=take_signals,
        )
    started = dagster_record.Interface(Process.of(process.pid), port, wanted, False, own_processes.machine(), {})
    wait_until_ready(started, log_file)
    return find(settings) or started


@contextmanager
def only_dev(settings: Settings) -> Iterator[None]:
    """Hold the lock of `phi dev`, also in the program that this process becomes. Raises DagsterNotReady.

    The record tells of a `phi dev` only once that has started.
    """
    try:
        with only_one(settings, DEV) as handle:
            os.set_inheritable(handle.fileno(), True)
            yield
    except Busy as e:
        found = find(settings)
        where = f"on {found.address}" if found else f"or is starting, on {settings.home}"
        raise DagsterNotReady(f"`phi dev` runs already, {where}") from e


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
    refuse_foreign(settings)


def command(port: int, loaded: str, place: str) -> list[str]:
    """Return the command line of the supervisor, which serves the UI and runs the daemon."""
    return [sys.executable, "-m", "phi_assets.instance.supervisor", str(port), loaded, place]


def variables_of_servers(settings: Settings) -> dict[str, str]:
    """Return the environment of the supervisor and of all that it starts."""
    return child_environment.for_dagster({**environment(settings), VARIABLE: dagster_record.token_of(settings)})


def stop(settings: Settings) -> list[str]:
    """End the home's Dagster and every process that it started; return what was ended, as `webserver (1234)`.

    They are known by the home's token, and by the record: either may be lost.
    """
    found, tokens = _recorded(settings), dagster_record.tokens_of(settings)
    named = {process.pid: name for name, process in _servers(found).items()}
    running = {process.pid: process for process in dagster_record.processes_of(tokens)}
    for pid in named:
        with suppress(psutil.Error):
            running.setdefault(pid, psutil.Process(pid))
    if found and found.alive:
        with suppress(psutil.Error):
            running[found.supervisor.pid].send_signal(signal.SIGINT)  # it ends the servers in order
            running[found.supervisor.pid].wait(STOP_SECONDS)
    own_processes.end([*running.values(), *dagster_record.processes_of(tokens)], STOP_SECONDS)
    if found and Path(found.folder).name.startswith(SOCKET_FOLDER.format(machine=own_processes.machine())):
        shutil.rmtree(found.folder, ignore_errors=True)
    dagster_record.file(settings).unlink(missing_ok=True)
    return [f"{named.get(pid, 'child process')} ({pid})" for pid in running]


def _recorded(settings: Settings) -> Interface | None:
    with suppress(DamagedFile):
        return dagster_record.read(settings)
    return None


def _servers(found: Interface | None) -> dict[str, Process]:
    """Return the processes of a recorded Dagster that run on this machine, by name."""
    if not found or found.machine != own_processes.machine():
        return {}
    recorded = {**found.servers, "supervisor": found.supervisor}
    return {name: process for name, process in recorded.items() if process.alive}


def refuse_foreign(settings: Settings) -> None:
    """Raise DagsterNotReady when a Dagster that `phi` did not start owns this home.

    Two daemons on one home start every run twice.
    """
    token = dagster_record.token_of(settings)
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            owns = variables.get("DAGSTER_HOME") and Path(variables["DAGSTER_HOME"]) == settings.dagster_home
            if owns and variables.get(VARIABLE) != token and _is_server(process.cmdline()):
                raise DagsterNotReady(
                    f"process {process.pid} (`{' '.join(process.cmdline()[:4])}`) was not started by `phi` and runs "
                    f"Dagster on {settings.dagster_home}: end it, or choose another PHI_HOME"
                )
        except (psutil.Error, OSError):
            continue


def _is_server(words: Sequence[str]) -> bool:
    """Return whether a command line is one of Dagster's servers. Decides only about a refusal, never about an end."""
    names = [Path(word).name for word in words[:4]]
    return bool(set(names) & SERVERS) or any(
        name in ("dagster", "dg") and later == "dev" for name, later in pairwise(names)
    )


def wait_until_ready(interface: Interface, log_file: Path) -> None:
    """Return when the webserver answers and the code location is loaded. Raises DagsterNotReady."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        state, detail = _location_state(interface)
        if state == "loaded":
            return
        if state == "error":
            raise DagsterNotReady(f"the code location does not load:\n{detail}")
        if not interface.alive:
            raise _not_ready("Dagster ended while starting", log_file)
        time.sleep(0.3)
    raise _not_ready(f"Dagster was not ready in {START_SECONDS} s", log_file)


def _not_ready(what: str, log_file: Path) -> DagsterNotReady:
    """Return the error with its reason: the disk, or what the log says."""
    disk = faults.of_disk(log_file.parent)
    return DagsterNotReady(f"{what}: {disk}" if disk else f"{what}; the end of {log_file}:\n{_tail(log_file)}")


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
