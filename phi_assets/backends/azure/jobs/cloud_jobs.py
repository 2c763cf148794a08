"""Runs each job once: its name is derived from its inputs, and a job of that name that runs or has completed is
adopted. One run at a time does this for each kind of job, whichever machine it is on.

By hand, because azure-ai-ml's `jobs.stream` cannot adopt a job after a crash, limit its time in the queue, or retry it.
"""

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.backends.azure.client.azure_errors import cause_of, code_of, status_of
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import may_have_taken_effect
from phi_assets.backends.azure.client.role_delay import call_waiting_for_role
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.infrastructure.training_environment import reference as environment_reference
from phi_assets.backends.azure.jobs.blob_pipes import open_pipes, pipes_folder
from phi_assets.backends.azure.jobs.job_errors import JobFailed, RoleMissing, failure_of, job_error, reported_error
from phi_assets.backends.azure.jobs.logs import JobLog, LineLog
from phi_assets.backends.azure.jobs.spec import CloudJob, Place, as_command, job_name, stage
from phi_assets.backends.azure.jobs.watch import (
    ALLOWANCE_MINUTES,
    ENDED,
    Ended,
    JobLimits,
    Watch,
    ended,
    link_metadata,
)
from phi_assets.backends.azure.jobs.watch import status_of as job_status
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.backends.azure.storage.blob_lease import BlobLease, only_holder
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log, StepContext

RUN_STATUS_SECONDS = 5.0  # between two reads of the Dagster run's status
RUN_STOPPED = frozenset({dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED})

IDENTITY_API = "2023-01-31"  # Microsoft.ManagedIdentity/userAssignedIdentities
# Waits between attempts, as shares of PHI_AZURE_ROLE_MINUTES: 1, 5 and 20 of 30 minutes. There are few, because each
# attempt starts a machine, and runs the whole job when its identity may read but not write.
ROLE_WAITS = (1 / 30, 1 / 6, 2 / 3)
LOG_SECONDS = 60.0
STOPPED = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)


class CloudJobs:
    """Runs jobs of the workspace for one step of a Dagster run. A job that uses Pipes needs that step's context."""

    def __init__(self, clients: AzureClients, limits: JobLimits, log: Log, context: StepContext | None = None) -> None:
        self.clients, self.limits, self.log, self.context = clients, limits, log, context
        self.blobs = WorkspaceBlobs(clients, self.log, limits.role_minutes)
        self.own_run = OwnRun(context)

    @property
    def seconds(self) -> int:
        """A job's time limit: as long as PHI_AZURE_MAX_JOB_COST pays for. Azure ML enforces it, also without a
        watching run.
        """
        price = prices.price_per_hour(self.limits.vm_size, self.clients.account.location)
        return prices.ceiling_seconds(self.limits.max_job_cost, price)

    def run(self, job: CloudJob, whole: Callable[[], bool], before: Callable[[], object] = lambda: None) -> Ended:
        """Run the job, or find it completed, and return how it ended. `whole` returns whether its result is complete.

        `before` is called when no job runs or has completed: what it raises keeps one from being submitted and paid.

        Raises JobFailed with its error and last lines. When this run is stopped, the job is cancelled, and this waits
        for its end; when this process dies, the job keeps running, and the next run adopts it. A job that failed
        because a role of its identity had not propagated is retried a few times within PHI_AZURE_ROLE_MINUTES.

        Waits while another run of the project has a job of this kind, as long as that job may take.
        """
        with only_holder(
            self.blobs,
            f"{job.kind}-job",
            f"{job.kind} jobs",
            run=self.context.run.run_id if self.context else "",
            minutes=self.seconds / 60 + self.limits.queue_minutes + ALLOWANCE_MINUTES,
            on_poll=self.own_run.raise_if_stopped,
        ) as lease:
            return self._run(job, whole, before, lease)

    def _run(self, job: CloudJob, whole: Callable[[], bool], before: Callable[[], object], lease: BlobLease) -> Ended:
        began = time.monotonic()
        for share in ROLE_WAITS:
            try:
                return self._attempt(job, whole, before, lease)
            except RoleMissing:
                left = self.limits.role_minutes * 60 - (time.monotonic() - began)
                if left <= 0:
                    raise
                self._wait_for_role(min(share * self.limits.role_minutes * 60, left), began)
        return self._attempt(job, whole, before, lease)

    def _wait_for_role(self, seconds: float, began: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            waited = (time.monotonic() - began) / 60
            self.log(
                f"a role of the job's identity has not taken effect yet: {waited:.0f} of "
                f"{self.limits.role_minutes:g} minutes waited; another attempt in {left / 60:.1f} minutes"
            )
            time.sleep(min(left, LOG_SECONDS))
            self.own_run.raise_if_stopped()

    def _attempt(
        self, job: CloudJob, whole: Callable[[], bool], before: Callable[[], object], lease: BlobLease
    ) -> Ended:
        watch, found = self._current_attempt(job, whole)
        if found is None:
            before()
        if found and job_status(found) == "Completed":
            self.log(f"reusing the result of completed job {watch.name}: {found.studio_url}")
            return ended(found)
        try:
            return self._follow(job, watch, found, whole)
        except STOPPED:
            if lease.lost:
                self.log(f"job {watch.name} is not cancelled: another run may have taken it over ({lease.lost})")
            else:
                watch.stop()
            raise
        finally:
            if watch.over:
                self._tidy(job, watch.name)

    def _follow(self, job: CloudJob, watch: Watch, found: Any, whole: Callable[[], bool]) -> Ended:
        """Submit the job unless it was found, watch it, and return how it ended. Raises JobFailed."""
        lines = LineLog(self.log)
        with open_pipes(self.context if job.pipes else None, self.blobs, watch.name, lines) as pipes:
            log = JobLog(self.blobs, watch.name, lines, pipes.message)

            def on_poll() -> None:
                self.own_run.raise_if_stopped()
                pipes.follow()
                log.follow()

            if found is None:
                self._submit(job, watch, pipes.variables)
            else:
                self.log(f"adopting job {watch.name}, which an earlier run submitted")
            end = watch.to_the_end(on_poll, self.seconds)
            pipes.follow(over=True)
            log.follow(over=True)
        if end.status != "Completed":
            reported = pipes.failed() or reported_error(log.last)
            error = reported or job_error(self.clients, end.name, self.log)
            raise failure_of(end, error, list(log.last), refused=reported is not None)
        if not whole():
            raise JobFailed(
                description=f"job {end.name} completed without a complete result in {job.output}: {end.link}",
                metadata=link_metadata(end.link),
            )
        return end

    def _current_attempt(self, job: CloudJob, whole: Callable[[], bool]) -> tuple[Watch, Any]:
        """The attempt to watch, and the job of that name, None if it must be submitted: the attempt that runs, else the
        newest that completed with its result, else a new one.
        """
        completed: tuple[Watch, Any] | None = None
        for watch in self._attempts(job):
            found = watch.get()
            if found is not None and job_status(found) == "CancelRequested":
                watch.cancel()  # waits for its end: the next attempt writes into the same output folder
                found = watch.get()
            if found is None:
                return completed if completed and whole() else (watch, None)
            if job_status(found) not in ENDED:
                return watch, found
            self._tidy(job, watch.name)  # in case an earlier run died before it removed them
            if job_status(found) == "Completed":
                completed = watch, found
        raise AssertionError("attempts have no end")

    def _attempts(self, job: CloudJob) -> Iterator[Watch]:
        for number in itertools.count(1):
            yield Watch(self.clients, job_name(job.kind, job.recipe, number), self.log, self.limits)

    def _tidy(self, job: CloudJob, name: str) -> None:
        """Delete the job's Pipes blobs. Errors are logged, so that they do not hide another failure."""
        if job.pipes:
            try:
                self.blobs.remove(pipes_folder(name))
            except BackendError as e:
                self.log(f"could not remove {pipes_folder(name)}: {e}")

    def _submit(self, job: CloudJob, watch: Watch, variables: Mapping[str, str]) -> None:
        """Submit the job. After a lost response, the job is read before it is submitted again. Raises AzureRefused."""
        place = Place(environment_reference(self.clients), self._client_id, self.seconds)
        with tempfile.TemporaryDirectory() as folder:
            code = stage(job, Path(folder))

            def put() -> None:
                if watch.now() is not None:
                    return
                watch.in_flight = True
                try:
                    # A new command at each attempt, because the SDK modifies its argument.
                    self.clients.ml().jobs.create_or_update(as_command(job, watch.name, place, code, variables))
                except Exception as e:
                    watch.in_flight = may_have_taken_effect(cause_of(e))
                    # Submitted by another run, or by this one with a lost response: a job is never changed, so that it
                    # is the wanted one in both cases.
                    if not _is_taken(cause_of(e)) or watch.now() is None:
                        raise

            call_waiting_for_role(put, f"submitting job {watch.name}", self.log, self.limits.role_minutes)
        self.log(
            f"submitted job {watch.name}: its time limit is {place.seconds / 60:.0f} minutes, "
            f"{self.limits.max_job_cost:g} dollars of run time at the price table's rate (PHI_AZURE_MAX_JOB_COST); its "
            "machine also costs money while it starts and idles"
        )
        self.own_run.raise_if_stopped()

    @cached_property
    def _client_id(self) -> str:
        """The client id of the identity that jobs run as; a job needs it to get a token."""
        identity = self.clients.resource("managed_identity")
        resource = call_waiting_for_role(
            lambda: self.clients.resources().resources.get_by_id(identity, api_version=IDENTITY_API),
            "reading the managed identity",
            self.log,
            self.limits.role_minutes,
        )
        properties: Any = resource.properties
        return properties["clientId"]


def _is_taken(error: BaseException) -> bool:
    """Whether a submission was refused because a job of that name exists."""
    return status_of(error) == 409 or code_of(error) == "JobPropertyImmutable"


class OwnRun:
    """The Dagster run of a step; does nothing without a context."""

    def __init__(self, context: StepContext | None) -> None:
        self.context = context
        self.read_at = float("-inf")

    def raise_if_stopped(self) -> None:
        """Raise the run's interrupt again if it was swallowed: azure-ai-ml catches every exception while it calls
        git.
        """
        if self.context is None or time.monotonic() - self.read_at < RUN_STATUS_SECONDS:
            return
        self.read_at = time.monotonic()
        run = None
        with contextlib.suppress(Exception):  # Dagster's storage may be busy: read it the next time
            run = self.context.instance.get_run_by_id(self.context.run.run_id)
        if run is not None and run.status in RUN_STOPPED:
            raise dg.DagsterExecutionInterruptedError
