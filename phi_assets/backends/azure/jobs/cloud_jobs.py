"""Jobs that are paid for once: found by their name, adopted when they run or are done, submitted when neither."""

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
from phi_assets.backends.azure.client.retry import may_have_been_done
from phi_assets.backends.azure.client.role_delay import call_waiting_for_role
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.infrastructure.training_environment import reference as environment_reference
from phi_assets.backends.azure.jobs.blob_pipes import open_pipes, pipes_folder
from phi_assets.backends.azure.jobs.job_errors import JobFailed, RoleMissing, failure_of, job_error, own_words
from phi_assets.backends.azure.jobs.logs import JobLog, Said
from phi_assets.backends.azure.jobs.spec import CloudJob, Place, as_command, job_name, stage
from phi_assets.backends.azure.jobs.watch import ENDED, Ended, JobLimits, Watch, ended, link_metadata
from phi_assets.backends.azure.jobs.watch import status_of as job_status
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log, StepContext

SECONDS_BETWEEN_LOOKS = 5.0
RUN_STOPPED = frozenset({dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED})

IDENTITY_API = "2023-01-31"  # Microsoft.ManagedIdentity/userAssignedIdentities
# Shares of PHI_AZURE_ROLE_MINUTES between attempts. Each attempt starts a machine, or runs the whole job when it may
# read and not write, so that there are few: of 30 minutes they wait 1, 5 and 20.
ROLE_WAITS = (1 / 30, 1 / 6, 2 / 3)
WORD_EVERY = 60.0
STOPPED = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)


class CloudJobs:
    """The workspace's jobs, on behalf of one step of a Dagster run. A job that uses Pipes needs that step's context."""

    def __init__(self, clients: AzureClients, limits: JobLimits, log: Log, context: StepContext | None = None) -> None:
        self.clients, self.limits, self.log, self.context = clients, limits, log, context
        self.blobs = WorkspaceBlobs(clients, self.log, limits.role_minutes)
        self.own_run = OwnRun(context)

    @property
    def seconds(self) -> int:
        """How long a job may run: what its price buys. Azure ML itself ends it then, also when nobody watches."""
        price = prices.price_per_hour(self.limits.vm_size, self.clients.account.location)
        return prices.ceiling_seconds(self.limits.max_job_cost, price)

    def run(self, job: CloudJob, whole: Callable[[], bool]) -> Ended:
        """The job has completed, now or earlier, and left what `whole` looks for.

        Raises JobFailed with its error and last lines. When this run is stopped, the job is cancelled, and its end
        waited for; when this process dies, the job goes on, and the next run adopts it. A job that failed because a
        role of its identity had not taken effect is tried again, a few times within PHI_AZURE_ROLE_MINUTES.
        """
        began = time.monotonic()
        for share in ROLE_WAITS:
            try:
                return self._attempt(job, whole)
            except RoleMissing:
                left = self.limits.role_minutes * 60 - (time.monotonic() - began)
                if left <= 0:
                    raise
                self._wait_for_role(min(share * self.limits.role_minutes * 60, left), began)
        return self._attempt(job, whole)

    def _wait_for_role(self, seconds: float, began: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            waited = (time.monotonic() - began) / 60
            self.log(
                f"a role of the job's identity has not taken effect yet: {waited:.0f} of "
                f"{self.limits.role_minutes:g} minutes waited; another attempt in {left / 60:.1f} minutes"
            )
            time.sleep(min(left, WORD_EVERY))
            self.own_run.raise_if_stopped()

    def _attempt(self, job: CloudJob, whole: Callable[[], bool]) -> Ended:
        watch, found = self._to_follow(job, whole)
        if found and job_status(found) == "Completed":
            self.log(f"job {watch.name} has made it already: {found.studio_url}")
            return ended(found)
        try:
            return self._followed(job, watch, found, whole)
        except STOPPED:
            watch.stop()
            raise
        finally:
            if watch.over:
                self._tidy(job, watch.name)

    def _followed(self, job: CloudJob, watch: Watch, found: Any, whole: Callable[[], bool]) -> Ended:
        """How the job ended, which is submitted unless it was found. Raises JobFailed."""
        lines = Said(self.log)
        with open_pipes(self.context if job.pipes else None, self.blobs, watch.name, lines) as pipes:
            log = JobLog(self.blobs, watch.name, lines, pipes.message)

            def look() -> None:
                self.own_run.raise_if_stopped()
                pipes.follow()
                log.follow()

            if found is None:
                self._submit(job, watch, pipes.variables)
            else:
                self.log(f"adopting job {watch.name}, which an earlier run submitted")
            end = watch.to_the_end(look, self.seconds)
            pipes.follow(over=True)
            log.follow(over=True)
        if end.status != "Completed":
            said = pipes.failed() or own_words(log.last)
            error = said or job_error(self.clients, end.name, self.log)
            raise failure_of(end, error, list(log.last), refused=said is not None)
        if not whole():
            raise JobFailed(
                description=f"job {end.name} completed, and its result is not in {job.output}: {end.link}",
                metadata=link_metadata(end.link),
            )
        return end

    def _to_follow(self, job: CloudJob, whole: Callable[[], bool]) -> tuple[Watch, Any]:
        """The attempt to follow, and the job of that name: one that runs, else the newest that has completed and left
        its result, else a new one.
        """
        completed: tuple[Watch, Any] | None = None
        for watch in self._attempts(job):
            found = watch.get()
            if found is not None and job_status(found) == "CancelRequested":
                watch.cancel()  # its output folder is the next attempt's too
                found = watch.get()
            if found is None:
                return completed if completed and whole() else (watch, None)
            if job_status(found) not in ENDED:
                return watch, found
            self._tidy(job, watch.name)  # of a run that died before it could
            if job_status(found) == "Completed":
                completed = watch, found
        raise AssertionError("attempts have no end")

    def _attempts(self, job: CloudJob) -> Iterator[Watch]:
        for number in itertools.count(1):
            yield Watch(self.clients, job_name(job.kind, job.recipe, number), self.log, self.limits)

    def _tidy(self, job: CloudJob, name: str) -> None:
        """What the job and its runs told each other is gone; that it could not be removed hides no other failure."""
        if job.pipes:
            try:
                self.blobs.remove(pipes_folder(name))
            except BackendError as e:
                self.log(f"{pipes_folder(name)} was not removed: {e}")

    def _submit(self, job: CloudJob, watch: Watch, variables: Mapping[str, str]) -> None:
        """There is a job of this name. An answer that was lost is asked for, not repeated. Raises AzureRefused."""
        place = Place(environment_reference(self.clients), self._client_id, self.seconds)
        with tempfile.TemporaryDirectory() as folder:
            code = stage(job, Path(folder))

            def put() -> None:
                if watch.now() is not None:
                    return
                watch.in_flight = True
                try:
                    # Made anew at each try: the SDK writes into what it is given.
                    self.clients.ml().jobs.create_or_update(as_command(job, watch.name, place, code, variables))
                except Exception as e:
                    watch.in_flight = may_have_been_done(cause_of(e))
                    # Somebody else's, or ours whose answer was lost: a job is never changed, so it is the one.
                    if not _is_taken(cause_of(e)) or watch.now() is None:
                        raise

            call_waiting_for_role(put, f"submitting job {watch.name}", self.log, self.limits.role_minutes)
        self.log(
            f"submitted job {watch.name}: it may run {place.seconds / 60:.0f} minutes, {self.limits.max_job_cost:g} "
            "dollars of run time at the table's price (PHI_AZURE_MAX_JOB_COST); its machine is paid for while it "
            "starts and idles too"
        )
        self.own_run.raise_if_stopped()

    @cached_property
    def _client_id(self) -> str:
        """The client id of the identity that jobs run as: with it alone a job gets a token."""
        identity = self.clients.resource("managed_identity")
        found = call_waiting_for_role(
            lambda: self.clients.resources().resources.get_by_id(identity, api_version=IDENTITY_API),
            "reading the managed identity",
            self.log,
            self.limits.role_minutes,
        )
        properties: Any = found.properties
        return properties["clientId"]


def _is_taken(error: BaseException) -> bool:
    """Whether there is another job of that name."""
    return status_of(error) == 409 or code_of(error) == "JobPropertyImmutable"


class OwnRun:
    """The run of a step; none without a context."""

    def __init__(self, context: StepContext | None) -> None:
        self.context = context
        self.looked = float("-inf")

    def raise_if_stopped(self) -> None:
        """Raises the interrupt that did not arrive: azure-ai-ml catches every exception while it asks git."""
        if self.context is None or time.monotonic() - self.looked < SECONDS_BETWEEN_LOOKS:
            return
        self.looked = time.monotonic()
        run = None
        with contextlib.suppress(Exception):  # a storage that is busy is asked the next time
            run = self.context.instance.get_run_by_id(self.context.run.run_id)
        if run is not None and run.status in RUN_STOPPED:
            raise dg.DagsterExecutionInterruptedError
