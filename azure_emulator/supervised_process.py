"""A child process that ends when this process ends, for whatever reason."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

SUPERVISOR = Path(__file__).with_name("supervisor.py")


class SupervisedProcess:
    """A command under `supervisor.py`, in its own session; its processes are killed when this object's pipe closes."""

    def __init__(
        self,
        command: Sequence[str],
        output: int | IO[bytes],
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=folder,
            bufsize=0,
        )

    @property
    def code(self) -> int | None:
        return self.process.poll()

    @property
    def command_id(self) -> int | None:
        """The process id of the command itself; None once it has ended."""
        own = self.process.pid
        with contextlib.suppress(OSError, IndexError):
            return int(Path(f"/proc/{own}/task/{own}/children").read_text().split()[0])
        return None

    def wait(self, seconds: float | None = None) -> int | None:
        """Return the exit code, or None if the command still runs after `seconds`."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """Send SIGTERM to the command and all its children."""
        self._send(b"T")

    def kill(self) -> None:
        """Send SIGKILL to the command and all its children and wait for them. Their output can still be read."""
        pipe = self.process.stdin
        if pipe and not pipe.closed:
            pipe.close()
        self.process.wait()

    def close(self) -> None:
        """Kill what still runs and close the pipes."""
        self.kill()
        if self.process.stdout:
            self.process.stdout.close()

    def _send(self, message: bytes) -> None:
        pipe = self.process.stdin
        if pipe and not pipe.closed:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(message)
