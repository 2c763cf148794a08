"""Runs command jobs as Azure ML's compute does: each in its own thread and on its own node."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from azure_emulator.blob_storage.blob_store import BlobStore
from azure_emulator.jobs.contract import Allows, JobRun, OnChange
from azure_emulator.jobs.data import DataAccess
from azure_emulator.jobs.identity_endpoint import IdentityEndpoint, IssueToken
from azure_emulator.jobs.job import Ending, Job
from azure_emulator.jobs.log import append_line
from azure_emulator.jobs.node import Node


class JobRunner:
    """Starts, cancels and tracks jobs.

    `store` is the gate's (`BlobGate.store`); `issue_token` is `Tokens.issue`; `account_scope(account)` is a storage
    account's resource id; `client_environment` directs clients to the local Azure (proxy and CA variables).
    """

    node_retries = 3  # how often a job is queued again after its node was lost
    seconds_to_stop = 2.0  # between SIGTERM and SIGKILL of a cancelled job
    seconds_after_limit = 10.0  # the same, for a job that reached its time limit

    def __init__(
        self,
        folder: Path,
        python: Path,
        store: BlobStore,
        allows: Allows,
        account_scope: Callable[[str], str],
        issue_token: IssueToken,
        client_environment: Mapping[str, str],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._python, self._store = folder, python, store
        self._allows, self._account_scope = allows, account_scope
        self._client_environment = dict(client_environment)
        self.endpoint = IdentityEndpoint(issue_token)
        self.executions: Counter[str] = Counter()  # commands started, by job id
        self._running: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, run: JobRun, on_change: OnChange) -> None:
        """Start the job. Raises ValueError if it was started before."""
        with self._lock:
            if run.id in self._running or self.executions[run.id]:
                raise ValueError(f"job {run.name} was executed already: Azure ML executes a job name once")
            self._running[run.id] = job = Job(self, run, on_change)
        job.thread.start()

    def cancel(self, id: str) -> None:
        """End a running job as Canceled within five seconds; otherwise do nothing."""
        self._end(id, "cancelled")

    def free(self, id: str) -> None:
        """Allow the job id to be started again, after its workspace was deleted."""
        with self._lock:
            self.executions.pop(id, None)

    def lose_node(self, id: str, comes_back: bool = True) -> None:
        """Remove the job's node with its files. The job is queued again, or Failed if no node comes back."""
        self._end(id, "node back" if comes_back else "node lost")

    def process_id(self, id: str) -> int | None:
        """Return the process id of the job's command, None if it does not run."""
        job = self._running.get(id)
        process = job.node.process if job and job.node else None
        return process.command_id if process else None

    def is_running(self, id: str) -> bool:
        return id in self._running

    def close(self) -> None:
        """Kill every job without a report to the control plane."""
        with self._lock:
            jobs = list(self._running.values())
        for job in jobs:
            job.end("shut down")
        for job in jobs:
            job.thread.join(10)
        self.endpoint.close()

    def _end(self, id: str, how: Ending) -> None:
        job = self._running.get(id)
        if job:
            job.end(how)

    def new_node(self, run: JobRun) -> Node:
        access = DataAccess(run, self._allows, self._account_scope)
        place = self._folder / run.name
        return Node(run, place, self._python, self._store, access, self.endpoint, self._client_environment)

    def write_log(self, run: JobRun, text: str) -> None:
        append_line(self._store, run.log, text)

    def forget(self, id: str) -> None:
        self._running.pop(id, None)
