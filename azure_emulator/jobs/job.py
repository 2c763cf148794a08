"""One job from start to end, over one or more nodes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from typing import Literal, Protocol

from azure_emulator.jobs.contract import JobRun, OnChange, Status
from azure_emulator.jobs.data import JobFailed
from azure_emulator.jobs.node import Node

_LOG = logging.getLogger(__name__)
Ending = Literal["cancelled", "node back", "node lost", "shut down"]


class Runner(Protocol):
    """What a job needs of its runner."""

    node_retries: int
    seconds_to_stop: float
    seconds_after_limit: float
    executions: Counter[str]

    def new_node(self, run: JobRun) -> Node: ...
    def write_log(self, run: JobRun, text: str) -> None: ...
    def forget(self, id: str) -> None: ...


class Job:
    """Runs in `thread`. `end` queues events from outside, which are handled in order."""

    def __init__(self, runner: Runner, run: JobRun, on_change: OnChange) -> None:
        self._runner, self._run, self._on_change = runner, run, on_change
        self._endings: queue.SimpleQueue[Ending] = queue.SimpleQueue()
        self._silent = False
        self.node: Node | None = None
        self.thread = threading.Thread(target=self._run_thread, name=f"job-{run.name}", daemon=True)

    def end(self, how: Ending) -> None:
        self._silent = self._silent or how == "shut down"
        self._endings.put(how)

    def _run_thread(self) -> None:
        try:
            self._attempts()
        except JobFailed as e:
            self._report("Failed", e.code, e.message)
        except Exception as e:
            _LOG.exception("job %s", self._run.name)
            self._report("Failed", "ServiceError", f"InternalServerError: {e}")
        finally:
            self._runner.forget(self._run.id)

    def _attempts(self) -> None:
        limit, retries = self._run.timeout_seconds, self._runner.node_retries
        deadline = time.monotonic() + limit if limit else None
        for attempt in range(1 + retries):
            self._report("Running")
            self.node = self._runner.new_node(self._run)
            try:
                if self._attempt(self.node, deadline) != "node back":
                    return
            except BaseException:
                self.node.finish()
                raise
            if attempt < retries:
                self._runner.write_log(self._run, f"The node was lost. The job is queued again, retry {attempt + 1}.")
                self._report("Queued")
        raise JobFailed("NodeFailure", f"The job's node was lost {1 + retries} times. NodeFailure.")

    def _attempt(self, node: Node, deadline: float | None) -> Ending | None:
        """Return the external ending, or None. The job is over except after "node back"."""
        node.prepare(self._must_end)
        code = None
        if not self._must_end():
            process = node.start()
            self._runner.executions[self._run.id] += 1
            while (code := process.wait(0.05)) is None and not self._must_end():
                if deadline and time.monotonic() > deadline:
                    self._time_limit_reached(node)
                    return None
        if code is not None:
            self._command_ended(node, code)
            return None
        how = self._endings.get()
        if how == "cancelled":
            node.stop(self._runner.seconds_to_stop)
            node.finish(seconds=1.5)
            self._report("Canceled")
        else:
            node.lose()
        if how == "node lost":
            raise JobFailed("NodeFailure", "The node on which the job ran is unusable. NodeFailure.")
        return how

    def _must_end(self) -> bool:
        return not self._endings.empty()

    def _time_limit_reached(self, node: Node) -> None:
        # "The max run duration in ISO 8601 format, after which the job will be cancelled": ARM's CommandJobLimits.
        # Azure documents neither message nor code; these are invented.
        limit = f"The job ran longer than its limit of {self._run.timeout_seconds:.0f} seconds and was cancelled."
        node.stop(self._runner.seconds_after_limit)
        node.finish()
        self._runner.write_log(self._run, limit)
        self._report("Canceled", "MaxRunDurationExceeded", limit)

    def _command_ended(self, node: Node, code: int) -> None:
        self._report("Finalizing")
        node.finish()
        if code:
            last = node.log.last_lines() if node.log else ""
            message = (
                f"Execution failed. User process '/bin/bash' exited with status code {code}. Please check log file "
                f"'user_logs/std_log.txt' for error details. Error: {last}"
            )
            raise JobFailed("UserError", message)
        node.require_outputs()
        self._report("Completed")

    def _report(self, status: Status, code: str | None = None, message: str | None = None) -> None:
        if not self._silent:
            self._on_change(status, code, message)
