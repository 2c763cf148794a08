"""Ends the training process when one of the processes that it depends on has ended.

The orchestrator passes `PHI_LIFELINE=lifeline_for([pid, ...])`. A pid alone does not suffice: the kernel reuses it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable

from .errors import EXIT_ORCHESTRATOR_GONE

VARIABLE = "PHI_LIFELINE"
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def lifeline_for(pids: Iterable[int]) -> str:
    """The value for PHI_LIFELINE: `pid:start` of each process, comma separated. Raises ProcessLookupError."""
    entries = []
    for pid in pids:
        started = start_of(pid)
        if started is None:
            raise ProcessLookupError(f"no process {pid} for the training to depend on")
        entries.append(f"{pid}:{started}")
    return ",".join(entries)


def hold_lifeline(every_seconds: float = 2.0) -> None:
    """End this process within `every_seconds` after any process in PHI_LIFELINE has ended; no effect if it is unset."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return
    if sys.platform == "linux":
        # Ends at once when the direct parent dies; the thread also watches other processes.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    watched = [(int(pid), start) for pid, _, start in (part.partition(":") for part in text.split(","))]
    end_without(watched)
    threading.Thread(target=watch, args=(watched, every_seconds), name="lifeline", daemon=True).start()


def watch(watched: list[tuple[int, str]], every_seconds: float) -> None:
    while True:
        time.sleep(every_seconds)
        end_without(watched)


def end_without(watched: list[tuple[int, str]]) -> None:
    for pid, start in watched:
        if start_of(pid) != start:
            os.write(2, f"process {pid}, which this training depends on, has ended: stopping\n".encode())
            os._exit(EXIT_ORCHESTRATOR_GONE)


def start_of(pid: int) -> str | None:
    """The start time of process `pid` as the kernel counts it; None when it does not exist or is a zombie."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                # proc_pid_stat(5): fields 3 (state) and 22 (start, in clock ticks); field 2 may hold spaces and ")".
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
