"""One job from its start to its end, over as many nodes as it takes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Literal

from azure_emulator.jobs.contract import JobRun, OnChange, Status
from azure_emulator.jobs.data import JobFailed
from azure_emulator.jobs.node import Node

if TYPE_CHECKING:
    from azure_emulator.jobs.runner import JobRunner

_LOG = logging.getLogger(__name__)
Ending = Literal["cancelled", "node back", "node lost", "shut down"]


class Job:
    """Lives in `thread`. What happens to it from outside comes through `end`, and is dealt with in that order."""

    def __init__(self, runner: JobRunner, run: JobRun, on_change: OnChange) -> None:
        self._runner, self._run, self._on_change = runner, run, on_change
        self._endings: queue.SimpleQueue[Ending] = queue.SimpleQueue()
        self._silent = False
        self.node: Node | None = None
        self.thread = threading.Thread(target=self._live, name=f"job-{run.name}", daemon=True)

    def end(self, how: Ending) -> None:
        self._silent = self._silent or how == "shut down"
        self._endings.put(how)

    def _live(self) -> None:
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
                self._runner.tell(self._run, f"The node was lost. The job is queued again, retry {attempt + 1}.")
                self._report("Queued")
        raise JobFailed("NodeFailure", f"The job's node was lost {1 + retries} times. NodeFailure.")

    def _attempt(self, node: Node, deadline: float | None) -> Ending | None:
        """How the attempt was ended from outside, None otherwise. But after "node back", the job is over."""
        node.prepare(self._is_to_end)
        code = None
        if not self._is_to_end():
            process = node.start()
            self._runner.executions[self._run.id] += 1
            while (code := process.wait(0.05)) is None and not self._is_to_end():
                if deadline and time.monotonic() > deadline:
                    self._out_of_time(node)
                    return None
        if code is not None:
            self._ended_by_itself(node, code)
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

    def _is_to_end(self) -> bool:
        return not self._endings.empty()

    def _out_of_time(self, node: Node) -> None:
        # "The max run duration in ISO 8601 format, after which the job will be cancelled": ARM's CommandJobLimits.
        # The words and the code are ours: none are documented.
        limit = f"The job ran longer than its limit of {self._run.timeout_seconds:.0f} seconds and was cancelled."
        node.stop(self._runner.seconds_after_limit)
        node.finish()
        self._runner.tell(self._run, limit)
        self._report("Canceled", "MaxRunDurationExceeded", limit)

    def _ended_by_itself(self, node: Node, code: int) -> None:
        self._report("Finalizing")
        node.finish()
        if code:
            last = node.log.last_lines() if node.log else ""
            message = (
                f"Execution failed. User process '/bin/bash' exited with status code {code}. Please check log file "
                f"'user_logs/std_log.txt' for error details. Error: {last}"
            )
            raise JobFailed("UserError", message)
        node.need_outputs()
        self._report("Completed")

    def _report(self, status: Status, code: str | None = None, message: str | None = None) -> None:
        if not self._silent:
            self._on_change(status, code, message)
