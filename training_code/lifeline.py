"""A training process that outlives nobody: it ends when one of the processes that it works for has ended.

The orchestrator passes `PHI_LIFELINE=lifeline_for([pid, ...])`. A pid alone would not do: the number is used again.
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
    """Text for PHI_LIFELINE: `pid:start` of each process, comma separated. Raises ProcessLookupError for a dead one."""
    found = []
    for pid in pids:
        started = start_of(pid)
        if started is None:
            raise ProcessLookupError(f"no process {pid} to tie the training to")
        found.append(f"{pid}:{started}")
    return ",".join(found)


def hold_lifeline(every_seconds: float = 2.0) -> None:
    """This process ends within `every_seconds` of any process in PHI_LIFELINE; unset, nothing happens."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return
    if sys.platform == "linux":
        # At once, when it is the direct parent that dies; the thread sees the grandparents too.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    held = [(int(pid), start) for pid, _, start in (part.partition(":") for part in text.split(","))]
    end_without(held)
    threading.Thread(target=watch, args=(held, every_seconds), name="lifeline", daemon=True).start()


def watch(held: list[tuple[int, str]], every_seconds: float) -> None:
    while True:
        time.sleep(every_seconds)
        end_without(held)


def end_without(held: list[tuple[int, str]]) -> None:
    for pid, start in held:
        if start_of(pid) != start:
            os.write(2, f"process {pid}, for which this training runs, has ended: stopping\n".encode())
            os._exit(EXIT_ORCHESTRATOR_GONE)


def start_of(pid: int) -> str | None:
    """When the living process `pid` started, in the kernel's own count; None when there is none, or only a zombie."""
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
