"""Runs the project's programs as child processes through Dagster Pipes; they stop with the run."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from phi_assets import child_environment
from phi_assets.graph.run_tags import STOPPED
from phi_assets.own_processes import VARIABLE
from phi_assets.plain_text import plain_text
from phi_assets.ports.base import StepContext
from phi_assets.project import PROJECT
from training_code.errors import EXIT_ORCHESTRATOR_GONE

STOP_SECONDS = 10
ENDED_BY_ITSELF = "failed"  # key of the custom message with a program's reason


def run_program(context: StepContext, arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
    """Run a script, or a module after `-m`. Raises Failure with the program's own reason when it fails.

    `variables` are added to its environment.

    Its log and metrics appear in the run live. Cancelling the run stops it; it watches its parent processes, and ends
    by itself within seconds when one of them ends.
    """
    program = arguments[1] if arguments[0] == "-m" else arguments[0]
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesTempFileContextInjector(),
        message_reader=PlainMessages(),
    ) as session:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env={**_environment(), **(variables or {}), **session.get_bootstrap_env_vars()},
        )
        try:
            process.wait()
        except BaseException:
            _stop(process)
            raise
    if process.returncode == EXIT_ORCHESTRATOR_GONE:
        reason = "stopped, because its Dagster process ended; the next run resumes from the finished work"
        raise dg.Failure(f"{program}: {reason}", metadata={STOPPED: True}, allow_retries=False)
    if process.returncode:
        reasons = [message[ENDED_BY_ITSELF] for message in session.get_custom_messages() if ENDED_BY_ITSELF in message]
        reason = str(reasons[-1]) if reasons else f"ended with status {process.returncode}; see its stderr"
        raise dg.Failure(f"{program}: {plain_text(reason, lines=True)}", allow_retries=not reasons)


class PlainMessages(dg.PipesTempFileMessageReader):
    """Messages of a program, whose log lines quote texts of users: the run's log gets them as plain text."""

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[Any]:
        handle = handler.handle_message

        def handle_plain(message: Any) -> None:
            if message["method"] == "log":
                params = message["params"]
                message = {**message, "params": {**params, "message": plain_text(str(params["message"]), lines=True)}}
            handle(message)

        handler.handle_message = handle_plain
        with super().read_messages(handler) as params:
            yield params

    @property
    def expected_writer_count(self) -> int:
        return 1  # the base class's property is marked as a preview, and warns


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """The child's variables, without those that Dagster Pipes adds: no secret of this process is among them."""
    from training_code.lifeline import lifeline_for

    return {
        **child_environment.allowed(*child_environment.LOCAL_PROGRAM, child_environment.PROCESSES),
        "PYTHONPATH": str(PROJECT),
        "PHI_LIFELINE": lifeline_for(_processes_above()),
        "TOKENIZERS_PARALLELISM": "false",
        # Spin count of waiting threads. With the default, unlimited, training hardly progresses next to a busy process;
        # with 0 it has two thirds of the tokens a second on idle cores; this value is as fast as the better of both.
        "GOMP_SPINCOUNT": "20000",
    }


def _processes_above() -> list[int]:
    """The ids of this process and its Dagster parents: code server and supervisor, or `dagster dev`."""
    import psutil

    token = os.environ.get(VARIABLE)
    above = [os.getpid()]
    for process in psutil.Process().parents():
        try:
            # Without a token it is a Dagster that the user started.
            ours = process.environ().get(VARIABLE) == token if token else "dagster" in " ".join(process.cmdline()[:6])
        except (psutil.Error, OSError):  # another user's
            ours = False
        if not ours:
            break
        above.append(process.pid)
    return above
