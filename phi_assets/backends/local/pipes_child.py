"""Our own programs as child processes through Dagster Pipes: seen live, stopped with the run, gone when it is gone."""

import os
import subprocess
import sys
from collections.abc import Sequence

import dagster as dg

from phi_assets.graph.run_tags import STOPPED
from phi_assets.ports.base import StepContext
from phi_assets.settings import PROJECT
from training_code.errors import EXIT_ORCHESTRATOR_GONE

STOP_SECONDS = 10
ENDED_BY_ITSELF = "failed"  # key of the custom message in which a program says why


def run_program(context: StepContext, arguments: Sequence[str]) -> None:
    """Run a script, or a module after `-m`. Raises Failure with its own last words when it fails.

    Its log and metrics appear in the run as it goes. Cancelling the run stops it; it watches the processes above it,
    and ends by itself within seconds when one of them is gone.
    """
    program = arguments[1] if arguments[0] == "-m" else arguments[0]
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesTempFileContextInjector(),
        message_reader=dg.PipesTempFileMessageReader(),
    ) as session:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env={**os.environ, **_environment(), **session.get_bootstrap_env_vars()},
        )
        try:
            process.wait()
        except BaseException:
            _stop(process)
            raise
    if process.returncode == EXIT_ORCHESTRATOR_GONE:
        words = "stopped, because the Dagster for which it ran was ended; what it had finished is kept for the next run"
        raise dg.Failure(f"{program}: {words}", metadata={STOPPED: True}, allow_retries=False)
    if process.returncode:
        said = [message[ENDED_BY_ITSELF] for message in session.get_custom_messages() if ENDED_BY_ITSELF in message]
        words = said[-1] if said else f"ended with status {process.returncode}; its stderr says why"
        raise dg.Failure(f"{program}: {words}", allow_retries=not said)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """What the child needs beside this process's environment."""
    from training_code.lifeline import lifeline_for

    return {
        "PYTHONPATH": str(PROJECT),
        "PHI_LIFELINE": lifeline_for(_processes_above()),
        "TOKENIZERS_PARALLELISM": "false",
        # How long threads spin while they wait. For ever, the default: hardly anything is done beside a busy process.
        # Not at all: two thirds of the tokens a second on idle cores. So long: as fast as the better of both.
        "GOMP_SPINCOUNT": "20000",
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
