"""Runs test programs as forks of a process that has imported their modules, because importing takes most of their time.

`python -m tests.support.forked_programs MODULE...` imports the modules and reads JSON objects from standard input, one
a line: `arguments`, `environment` and `output`. For each it forks; the fork calls `main(arguments)` of the first module
in that environment, with stdout and stderr appended to the file `output`. It prints the fork's exit code as a line, -N
for signal N.
"""

import atexit
import json
import os
import random
import select
import subprocess
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


@cache
def forks(*modules: str) -> "Forks":
    """Return the process that forks for the first of the modules; it ends with this process."""
    return Forks(modules)


class Forks:
    """A subprocess that has imported the modules and forks on request."""

    def __init__(self, modules: Sequence[str]) -> None:
        command = [sys.executable, "-m", "tests.support.forked_programs", *modules]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process: subprocess.Popen[bytes] = subprocess.Popen(command, cwd=PROJECT, bufsize=0, **pipes)  # type: ignore[call-overload]
        atexit.register(self._close)

    def run(self, output: Path, arguments: Sequence[str], seconds: float = 120) -> int:
        """Run a fork in the current environment; return its exit code. Raises TimeoutError."""
        assert self._process.stdin
        assert self._process.stdout
        request = {"arguments": list(arguments), "environment": dict(os.environ), "output": str(output)}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise TimeoutError(f"{arguments} did not end within {seconds} s: {output.read_text()}")
        return int(self._process.stdout.readline())

    def _close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _in_a_fork(main: Any, arguments: list[str], environment: dict[str, str], output: str) -> int:
    """Fork and call `main`; return the exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(written, stream)
        os.environ.clear()
        os.environ.update(environment)
        random.seed()
        main(arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    modules = [import_module(name) for name in sys.argv[1:]]
    for line in sys.stdin:
        print(_in_a_fork(modules[0].main, **json.loads(line)), flush=True)
