"""Processes that this project started: known by a token in their environment, and by id with start ticks.

A process id alone is reused, a start time moves with the clock, and a command line proves nothing.
"""

import hashlib
import os
import platform
import secrets
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi_assets.files import atomic_write
from training_code.lifeline import start_of

if TYPE_CHECKING:
    import psutil

VARIABLE = "PHI_PROCESSES"
"""Environment variable with the home's token. Servers that outlive Dagster do not get it."""


@dataclass(frozen=True)
class Process:
    """A process of this machine, and its start as the kernel counts it: a reused id has another start."""

    pid: int
    start: str

    @classmethod
    def of(cls, pid: int) -> "Process":
        """Return the process of this id. Raises ProcessLookupError when there is none."""
        start = start_of(pid)
        if start is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid, start)

    @property
    def alive(self) -> bool:
        return start_of(self.pid) == self.start


def token(file: Path) -> str:
    """Return the token that the file holds, and write a new one where it holds none."""
    found = read_token(file)
    if found:
        return found
    made = secrets.token_hex(16)
    atomic_write(file, f"{made}\n", mode=0o600)
    return made


def read_token(file: Path) -> str:
    """Return the token that the file holds; empty where it holds none."""
    with suppress(OSError, ValueError):
        return file.read_text(encoding="ascii").strip()
    return ""


def token_in(process: Process) -> str:
    """Return the token in the environment of a process; empty when it has none, or has ended."""
    import psutil

    with suppress(psutil.Error, OSError):
        if process.alive:
            return psutil.Process(process.pid).environ().get(VARIABLE, "")
    return ""


def with_token(value: str) -> Iterator["psutil.Process"]:
    """Yield the processes that have this token, except this one. Those of other users cannot be read, and have none.

    An empty token is no process's.
    """
    import psutil

    if not value:
        return

    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = process.environ().get(VARIABLE) == value and process.status() != psutil.STATUS_ZOMBIE
            if ours and process.pid != os.getpid():
                yield process


def end(started: Iterable["psutil.Process"], seconds: float) -> None:
    """Terminate the processes; kill those that are alive after `seconds`."""
    import psutil

    left = list(started)
    for process in left:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(left, timeout=seconds)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def machine() -> str:
    """Return an identifier of this machine, or container, of eight hexadecimal digits; it stays over a restart."""
    if sys.platform == "linux":
        with suppress(OSError):
            return _short(Path("/etc/machine-id").read_text(encoding="ascii").strip() + platform.node())
    return _short(f"{uuid.getnode():x}")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
