"""Jobs that are paid for once: found by their name, adopted when they run or are done, submitted when neither."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.backends.azure import prices
from phi_assets.backends.azure.blob import WorkspaceBlobs
from phi_assets.backends.azure.clients import AzureClients
from phi_assets.backends.azure.environment import reference as environment_reference
from phi_assets.backends.azure.errors import cause_of, code_of, refused
from phi_assets.backends.azure.job_errors import job_error
from phi_assets.backends.azure.job_failures import JobFailed, RoleMissing, failure_of, own_words
from phi_assets.backends.azure.job_logs import JobLog, Said
from phi_assets.backends.azure.job_names import job_name
from phi_assets.backends.azure.job_spec import CloudJob, Place, as_command, stage
from phi_assets.backends.azure.job_watch import ENDED, Ended, Watch, link_metadata, status_of
from phi_assets.backends.azure.pipes_session import open_pipes, pipes_folder
from phi_assets.backends.azure.retrying import with_patience
from phi_assets.backends.azure.roles import wait_for_role
from phi_assets.backends.ports import Log, StepContext

IDENTITY_API = "2023-01-31"  # Microsoft.ManagedIdentity/userAssignedIdentities
FIRST_ROLE_WAIT, LONGEST_ROLE_WAIT = 10.0, 60.0
STOPPED = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)


@dataclass(frozen=True)
class JobLimits:
    """What a job may cost in US dollars and wait in minutes, and how often it is asked for."""

    vm_size: str
    max_job_cost: float
    queue_minutes: float
    role_minutes: float
    poll_seconds: float


class CloudJobs:
    """The workspace's jobs, on behalf of one step of a Dagster run. A job that uses Pipes needs that step's context."""

    def __init__(self, clients: AzureClients, limits: JobLimits, log: Log, context: StepContext | None = None) -> None:
        self.clients, self.limits, self.log, self.context = clients, limits, log, context
        self.blobs = WorkspaceBlobs(clients, self.log, limits.role_minutes)

    @property
    def seconds(self) -> int:
        """How long a job may run: what its price buys. Azure ML itself ends it then, also when nobody watches."""
        price = prices.price_per_hour(self.limits.vm_size, self.clients.account.location)
        return prices.ceiling_seconds(self.limits.max_job_cost, price)

    def run(self, job: CloudJob, whole: Callable[[], bool]) -> Ended:
        """The job has completed, now or earlier, and left what `whole` looks for.

        Raises JobFailed with its error and last lines. When this run is stopped, the job is cancelled, and its end
        waited for; when this process dies, the job goes on, and the next run adopts it. A job that failed because a
        role of its identity had not taken effect is tried again until PHI_AZURE_ROLE_MINUTES have passed.
        """
        began, wait = time.monotonic(), FIRST_ROLE_WAIT
        while True:
            try:
                return self._attempt(job, whole)
            except RoleMissing:
                waited = (time.monotonic() - began) / 60
                if waited + wait / 60 > self.limits.role_minutes:
                    raise
                self.log(
                    f"a role of the job's identity has not taken effect yet: {waited:.0f} of "
                    f"{self.limits.role_minutes:g} minutes waited; another attempt in {wait:.0f} s"
                )
                time.sleep(wait)
                wait = min(wait * 1.5, LONGEST_ROLE_WAIT)

    def _attempt(self, job: CloudJob, whole: Callable[[], bool]) -> Ended:
        watch, found = self._to_follow(job, whole)
        if found and status_of(found) == "Completed":
            self.log(f"job {watch.name} has made it already: {found.studio_url}")
            if job.pipes:  # of a run that died before it could
                self.blobs.remove(pipes_folder(watch.name))
            return Ended(watch.name, "Completed", found.studio_url or "")
        lines = Said(self.log)
        log = JobLog(self.blobs, watch.name, lines)
        with open_pipes(self.context if job.pipes else None, self.blobs, watch.name, lines) as pipes:

            def look() -> None:
                pipes.follow()
                log.follow()

            try:
                if found is None:
                    self._submit(job, watch.name, pipes.variables)
                else:
                    self.log(f"adopting job {watch.name}, which an earlier run submitted")
                ended = watch.to_the_end(look, self.limits.queue_minutes, self.limits.vm_size)
                log.follow(over=True)
            except STOPPED:
                watch.cancel()
                raise
            finally:
                if watch.over and job.pipes:
                    self.blobs.remove(pipes_folder(watch.name))
        if ended.status != "Completed":
            said = pipes.failed() or own_words(log.last)
            error = said or job_error(self.clients, ended.name, self.log)
            raise failure_of(ended, error, list(log.last), refused=said is not None)
        if not whole():
            raise JobFailed(
                description=f"job {ended.name} completed, and its result is not in {job.output}: {ended.link}",
                metadata=link_metadata(ended.link),
            )
        return ended

    def _to_follow(self, job: CloudJob, whole: Callable[[], bool]) -> tuple[Watch, Any]:
        """The attempt to follow, and the job of that name: the first that runs or has completed, else a new one."""
        number = 1
        while True:
            name = job_name(job.kind, job.recipe, number)
            watch = Watch(self.clients, name, self.log, self.limits.poll_seconds)
            found = watch.get()
            if found is not None and status_of(found) == "CancelRequested":
                watch.cancel()  # its output folder is the next attempt's too
                found = watch.get()
            if found is None or status_of(found) not in ENDED or (status_of(found) == "Completed" and whole()):
                return watch, found
            number += 1

    def _submit(self, job: CloudJob, name: str, variables: Mapping[str, str]) -> None:
        """There is a job of this name. An answer that was lost is asked for, not repeated."""
        from azure.ai.ml.exceptions import MlException
        from azure.core.exceptions import HttpResponseError

        watch = Watch(self.clients, name, self.log, self.limits.poll_seconds)
        place = Place(environment_reference(self.clients), self._client_id, self.seconds)
        with tempfile.TemporaryDirectory() as folder:
            code = stage(job, Path(folder))

            def put() -> None:
                if watch.get() is not None:
                    return
                try:
                    # Made anew at each try: the SDK writes into what it is given.
                    self.clients.ml().jobs.create_or_update(as_command(job, name, place, code, variables))
                except MlException as e:
                    raise cause_of(e) from e
                except HttpResponseError as e:
                    # Somebody else's, or ours whose answer was lost: a job is never changed, so it is the one.
                    if code_of(e) != "JobPropertyImmutable" and e.status_code != 409:
                        raise

            what = f"submitting job {name}"
            try:
                wait_for_role(put, what, self.log, self.limits.role_minutes)
            except HttpResponseError as e:
                raise refused(what, e) from e
        self.log(
            f"submitted job {name}: it may run {place.seconds / 60:.0f} minutes, for at most "
            f"{self.limits.max_job_cost:g} dollars (PHI_AZURE_MAX_JOB_COST)"
        )

    @cached_property
    def _client_id(self) -> str:
        """The client id of the identity that jobs run as: with it alone a job gets a token."""
        identity = self.clients.resource("managed_identity")
        found = with_patience(
            "reading the managed identity",
            lambda: self.clients.resources().resources.get_by_id(identity, api_version=IDENTITY_API),
            self.log,
        )
        properties: Any = found.properties
        return properties["clientId"]
