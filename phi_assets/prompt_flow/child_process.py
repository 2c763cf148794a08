"""Runs Prompt flow in a child process: one request, one reply, and no process or file left afterwards.

Prompt flow reads its environment when it is imported, changes the working directory and signal handlers, and starts
processes. So the project's own processes never import it; each use is a child process,
`python -m phi_assets.prompt_flow.<name>_child`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from phi_assets.files import atomic_write
from phi_assets.plain_text import plain_text

PROGRESS = "progress: "
TAIL_LINES = 15


class PromptFlowFailed(RuntimeError):
    """Prompt flow refused the request, ended early or timed out."""


def run_child(
    module: str,
    request: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    log: Callable[[str], None] | None = None,
    timeout_s: float = 300.0,
    secrets: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the reply of the program `module` to `request`; its process group has ended afterwards.

    `environment` is of `prompt_flow_environment`; the child runs in the virtual environment that it names. The request
    goes in through standard input, because other users can read a command line. `log` gets the child's progress lines;
    `secrets` are masked in everything that is logged or raised.

    Raises:
        PromptFlowFailed: with the child's error, or with the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="prompt-flow-") as folder:
        reply = Path(folder) / "reply.json"
        child = subprocess.Popen(
            [Path(environment["VIRTUAL_ENV"]) / "bin" / "python", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, "TMPDIR": folder},  # each start of Prompt flow leaves a folder there
            cwd=folder,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            _kill_group(child.pid)

        timer = threading.Timer(timeout_s, end)
        timer.start()
        threading.Thread(target=_kill_leftovers, args=(child,), daemon=True).start()
        try:
            tail = _communicate(child, {**request, "reply": str(reply), "parent": os.getpid()}, log, secrets)
        finally:
            timer.cancel()
            _kill_group(child.pid)
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        if timed_out.is_set():
            raise PromptFlowFailed(f"Prompt flow ({module}) took longer than {timeout_s:g} s and was stopped\n{tail}")
        return _result(module, reply, child.returncode, tail, secrets)


def _communicate(
    child: subprocess.Popen[str], request: Mapping[str, Any], log: Callable[[str], None] | None, secrets: Sequence[str]
) -> str:
    """Send the request, log progress until the child ends, and return the end of its other output."""
    assert child.stdin
    assert child.stdout
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(json.dumps(request))
        child.stdin.close()
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    for raw in child.stdout:
        line = plain_text(_mask(raw.rstrip("\n"), secrets), lines=True)
        if not line.startswith(PROGRESS):
            tail.append(line)
        elif log:
            log(line.removeprefix(PROGRESS))
    return "\n".join(tail)


def _result(module: str, reply: Path, code: int, tail: str, secrets: Sequence[str]) -> dict[str, Any]:
    if not reply.exists():
        raise PromptFlowFailed(f"Prompt flow ({module}) ended with code {code} and no reply; its last lines:\n{tail}")
    answer = json.loads(reply.read_text(encoding="utf-8"))
    if "error" in answer:
        raise PromptFlowFailed(_mask(answer["error"], secrets))
    return answer["result"]


def _mask(text: str, secrets: Sequence[str]) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _kill_leftovers(child: subprocess.Popen[str]) -> None:
    """Kill the remaining processes after the child ends: a worker that outlives it would keep the pipe open."""
    child.wait()
    _kill_group(child.pid)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def answer_request(handle: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """In the child: read the request, write what `handle` returns (or its error) as the reply, and end.

    Every process that the child started ends with it; all end within a second when the parent process is killed.
    """
    try:
        request = json.loads(sys.stdin.read())
        threading.Thread(target=_end_with, args=(request["parent"],), daemon=True).start()
        _reply(Path(request["reply"]), handle, request)
    except BaseException:
        with contextlib.suppress(OSError):  # the parent may have ended
            traceback.print_exc()
    finally:
        # Processes that Prompt flow started would outlive this one, and its exit handlers only wait for exporters
        # that are disabled.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        _kill_group(0)


def _reply(file: Path, handle: Callable[[dict[str, Any]], dict[str, Any]], request: dict[str, Any]) -> None:
    """Write the result of `handle`, or its error, to the file atomically."""
    try:
        answer = {"result": handle(request)}
    except Exception as e:
        answer = {"error": str(e) or type(e).__name__}
        traceback.print_exc()
    atomic_write(file, json.dumps(answer), durable=False)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    _kill_group(0)


def report_progress(text: str) -> None:
    """In the child: send one line to the `log` of the parent process."""
    print(f"{PROGRESS}{text}", flush=True)
