"""Runs `phi` as forks of a process that has loaded the definitions, because that takes most of a command's time.

`python -m tests.support.forked_phi` reads JSON lists from standard input, one a line: the arguments, and the file for
stdout and stderr each. It prints the exit code of each as a line, -N for signal N.
"""

import json
import os
import random
import select
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from phi_assets.project import PROJECT


@dataclass(frozen=True)
class Ended:
    """A `phi` that ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class ForkedPhi:
    """A process that runs `phi` in forks, with the variables; `end` ends it."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._files = folder / "phi.out", folder / "phi.err"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked_phi"],
            cwd=PROJECT,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def __call__(self, *arguments: str, seconds: float = 300) -> Ended:
        """Run `phi` with the arguments. Raises TimeoutError."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([arguments, *map(str, self._files)]).encode() + b"\n")
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise TimeoutError(f"phi {arguments} did not end in {seconds} s: {[f.read_text() for f in self._files]}")
        out, err = (file.read_text(encoding="utf-8") for file in self._files)
        return Ended(int(self._process.stdout.readline()), out, err)

    def end(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _in_a_fork(arguments: list[str], out: str, err: str) -> int:
    """Run `phi` in a fork and return the exit code."""
    from phi_assets.cli.main import main

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream, file in ((1, out), (2, err)):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        random.seed()
        code = main(arguments)
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import dagster_graphql  # noqa: F401
    import mlflow  # noqa: F401

    from phi_assets.definitions import definitions

    definitions()
    for line in sys.stdin:
        print(_in_a_fork(*json.loads(line)), flush=True)
