"""Runs one command in its own session and kills all of its processes when the parent process ends.

Usage: `python -I -S supervisor.py COMMAND...`, with a pipe as standard input. A `T` on the pipe sends SIGTERM to the
command's process group; the end of the pipe (the parent closed it, or died) sends SIGKILL. The exit code is the
command's, or 128 + signal if a signal ended it. Imports the standard library only: it runs in a job's clean
environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def main(command: list[str]) -> int:
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    ended, ending = os.pipe()
    for end in (ended, ending):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(ending)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for stop in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(stop, signal.SIG_IGN)  # only the pipe ends the command
    child = os.fork()
    if child == 0:
        _exec(command)
    # Until the child leads its own group, a signal to that group would be lost.
    while os.getpgid(child) != child:
        time.sleep(0.001)
    status, terminating = None, False
    with selectors.DefaultSelector() as ready:
        ready.register(0, selectors.EVENT_READ)
        ready.register(ended, selectors.EVENT_READ)
        # A shell can end on SIGTERM before its children: wait for them until the parent closes the pipe.
        while status is None or (terminating and _is_alive(child)):
            for key, _ in ready.select(None if status is None else 0.05):
                if key.fd != 0:
                    os.read(ended, 4096)
                elif os.read(0, 1) == b"T":
                    terminating = True
                    _signal(child, signal.SIGTERM)
                else:
                    terminating = False
                    _signal(child, signal.SIGKILL)
                    ready.unregister(0)
            if status is None:
                status = _status(child)
            else:
                _status(child)
    _signal(child, signal.SIGKILL)
    _end_orphans()
    return status


def _prctl(option: int, value: int) -> None:
    """Call prctl on Linux. Without it, only processes that leave the group are missed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _exec(command: list[str]) -> None:
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for changed in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(changed, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvpe(command[0], command, _original_environment())
    except OSError as e:
        os.write(2, f"{command[0]}: {e.strerror}\n".encode())
        os._exit(127)


def _original_environment() -> dict[bytes, bytes]:
    """Return the environment of the process start. Python adds LC_CTYPE to os.environ without a locale (PEP 538)."""
    if sys.platform != "linux":
        return dict(os.environb)
    with open("/proc/self/environ", "rb") as file:
        pairs = (item.partition(b"=") for item in file.read().split(b"\0") if item)
        return {name: value for name, _, value in pairs}


def _status(child: int) -> int | None:
    """Return the command's exit status, None while it runs. Also reap the orphans that it left."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                ended = os.waitstatus_to_exitcode(code)
                found = ended if ended >= 0 else 128 - ended
    return found


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _end_orphans() -> None:
    """Send SIGKILL to processes that left the group, and to their children: as subreaper we are their parent."""
    me = os.getpid()
    if not os.path.exists("/proc"):
        return
    with contextlib.suppress(ChildProcessError):
        while True:
            for name in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) == me:
                        os.kill(int(name), signal.SIGKILL)
            os.waitpid(-1, 0)


if __name__ == "__main__":
    # Not sys.exit: the interpreter has nothing to clean up.
    os._exit(main(sys.argv[1:]))
