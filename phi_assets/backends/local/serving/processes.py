"""Server processes that outlive their starter and can be found and stopped by any later process.

A server holds a lock on its own file from before its first instruction until it ends, so the operating system knows
whether it runs: a crash leaves no stale state, and a reused process id is never mistaken for the server.
"""

import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from phi_assets import files

# The shell ends at once, so the server is reparented and leaves no zombie; it inherits the locked file.
_LAUNCH = '"$@" & echo $! > "$0"'
_POLL_SECONDS = 0.05
_KILL_SECONDS = 10.0
_REMIND_SECONDS = 3.0


class AlreadyRunning(RuntimeError):
    """A server of this name runs already."""


class StillRunning(RuntimeError):
    """A server did not end after it was killed."""


class ServerProcess:
    """The server `name` in `folder`: `<name>.lock` holds its process id while it runs, `<name>.log` its output."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._lock = folder / f"{name}.lock"

    def start(
        self, command: Sequence[str], *, listener: socket.socket, environment: Mapping[str, str], cwd: Path
    ) -> None:
        """Start the server with the listening socket as `--listen-fd`; the previous log becomes `<name>.log.1`.

        Raises AlreadyRunning.
        """
        with suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".log.1"))
        lock = self._take_lock()
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.ftruncate(lock, 0)
            subprocess.run(
                ["/bin/sh", "-c", _LAUNCH, str(self._lock), *command, "--listen-fd", str(listener.fileno())],
                check=True,
                pass_fds=(lock, listener.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=dict(environment),
                cwd=cwd,
            )
        finally:
            os.close(log)
            os.close(lock)

    def alive(self) -> bool:
        """Return whether the server runs now."""
        try:
            lock = os.open(self._lock, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            files.lock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB, self._lock)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def pid(self) -> int | None:
        """Return the running server's process id; None when it does not run."""
        deadline = time.monotonic() + _KILL_SECONDS
        while self.alive():
            text = self._lock.read_bytes().strip()
            if text.isdigit():
                return int(text)
            if time.monotonic() > deadline:
                holder = self._holder()
                if holder:
                    return holder
                raise StillRunning(f"a process holds {self._lock} and has not written its id there; find and stop it")
            time.sleep(_POLL_SECONDS)
        return None

    def _holder(self) -> int | None:
        """Return the id of the process that has the lock file open: its id is not written where the disk is full."""
        import psutil

        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != os.getpid() and any(each.path == str(self._lock) for each in process.open_files()):
                    return process.pid
        return None

    def stop(self, grace_seconds: float) -> None:
        """Stop the server. It may finish running requests for `grace_seconds`; then it is killed."""
        import psutil

        pid = self.pid()
        if pid is None:
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            # Check again after the process was looked up: the id may have been reused in between.
            if not self.alive():
                return
            deadline = time.monotonic() + grace_seconds
            while time.monotonic() < deadline:
                # Repeat the signal: a server that has just started may still ignore it.
                process.terminate()
                if self._ended_within(min(_REMIND_SECONDS, deadline - time.monotonic())):
                    return
            process.kill()
        if not self._ended_within(_KILL_SECONDS):
            raise StillRunning(f"process {pid} ({self.name}) did not end when it was killed; end it by hand")

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "(it wrote no log)"
        return "\n".join(text.splitlines()[-lines:]) or "(its log is empty)"

    def _ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _take_lock(self) -> int:
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        # `alive` in another process holds the lock for an instant.
        for _ in range(40):
            try:
                files.lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, self._lock)
            except BlockingIOError:
                time.sleep(_POLL_SECONDS)
            else:
                return lock
        os.close(lock)
        raise AlreadyRunning(f"{self.name} runs already (process id in {self._lock}); stop it first")
