"""Our own programs as child processes through Dagster Pipes: seen live, stopped with the run, gone when it is gone."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from phi_assets.settings import PROJECT

STOP_SECONDS = 10
ERROR_FILE = "error.txt"  # the last words of a program that failed, in its output folder


def run_program(context: dg.AssetExecutionContext, arguments: Sequence[str], output: Path) -> None:
    """The program has ended well. Raises Failure with its own last words when it has not.

    Its log and metrics appear in the run as it goes. Cancelling the run stops it; it watches the processes above it,
    and ends by itself within seconds when one of them is gone.
    """
    error = output / ERROR_FILE
    error.unlink(missing_ok=True)
    client = dg.PipesSubprocessClient(termination_timeout_seconds=STOP_SECONDS)
    try:
        client.run(context=context, command=[sys.executable, *arguments], cwd=str(PROJECT), env=_environment())
    except subprocess.TimeoutExpired as e:
        raise dg.Failure(f"{arguments[0]} did not stop within {STOP_SECONDS} s of being told to") from e
    except dg.DagsterPipesExecutionError as e:
        words = error.read_text(encoding="utf-8").strip() if error.is_file() else f"{e}; see its log in stderr"
        raise dg.Failure(description=f"{arguments[0]}: {words}", allow_retries=not error.is_file()) from e


def _environment() -> dict[str, str]:
    """What the child needs beside this process's environment."""
    from training_code.lifeline import lifeline_for

    return {
        "PYTHONPATH": str(PROJECT),
        "PHI_LIFELINE": lifeline_for(_processes_above()),
        "TOKENIZERS_PARALLELISM": "false",
    }


def _processes_above() -> list[int]:
    """This process and those of Dagster above it: the code server, the daemon or webserver, `dagster dev`."""
    import psutil

    above = [os.getpid()]
    for process in psutil.Process().parents():
        if not any("dagster" in word for word in process.cmdline()[:6]):
            break
        above.append(process.pid)
    return above
