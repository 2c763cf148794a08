"""Watching and cancelling a job through errors, with a fake workspace of plain values and no network."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceResponseError

from phi_assets.backends.azure.client import retry, role_delay
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.jobs import cloud_jobs
from phi_assets.backends.azure.jobs import watch as job_watch
from phi_assets.backends.azure.jobs.blob_pipes import pipes_folder
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, OwnRun
from phi_assets.backends.azure.jobs.job_errors import RoleMissing
from phi_assets.backends.azure.jobs.spec import CloudJob, job_name
from phi_assets.backends.azure.jobs.watch import ALLOWANCE_MINUTES, Ended, JobLimits, NeverEnded, NoMachine, Watch

LIMITS = JobLimits("Standard_NC24ads_A100_v4", 20.0, queue_minutes=10.0, role_minutes=30.0, poll_seconds=5.0)
LINK = "https://ml.azure.com/runs/x"
RECIPE = "r" * 16


@dataclass
class Workspace:
    """Jobs by name, each with the states that it is found in, the last one for good. A cancelled one is Canceled."""

    states: dict[str, list[str]] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    clock: list[float] = field(default_factory=lambda: [0.0])
    lands_at: float | None = None  # when a submission that was not answered makes its job
    problem: BaseException | None = None  # of every submission
    cancel_problem: Exception | None = None
    lost: str = ""  # why the lease on jobs was lost

    def get(self, name: str) -> Any:
        if name in self.submitted and self.lands_at is not None and self.clock[0] >= self.lands_at:
            self.states.setdefault(name, ["Queued"])
        if name not in self.states:
            raise ResourceNotFoundError("no such job")
        left = self.states[name]
        status = left.pop(0) if len(left) > 1 else left[0]
        return SimpleNamespace(name=name, status=status, studio_url=LINK)

    def create_or_update(self, name: str) -> None:
        self.submitted.append(name)
        if self.problem is not None:
            raise self.problem
        self.states[name] = ["Queued", "Running", "Completed"]

    def begin_cancel(self, name: str) -> None:
        if self.cancel_problem:
            raise self.cancel_problem
        self.cancelled.append(name)
        self.states[name] = ["CancelRequested", "Canceled"]

    def remove(self, path: str) -> None:
        self.removed.append(path)

    def peek(self, path: str, *, start: int = 0, container: str | None = None) -> bytes:
        return b""

    @property
    def clients(self) -> Any:
        account = SimpleNamespace(location="eastus2")
        return SimpleNamespace(ml=lambda: SimpleNamespace(jobs=self), account=account)


@pytest.fixture
def workspace(monkeypatch) -> Workspace:
    made = Workspace()

    def sleep(seconds: float) -> None:
        made.clock[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: made.clock[0], sleep=sleep)
    for module in (job_watch, cloud_jobs, retry, role_delay):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(cloud_jobs, "as_command", lambda job, name, *others: name)
    monkeypatch.setattr(cloud_jobs, "only_holder", lambda *_, **__: nullcontext(SimpleNamespace(lost=made.lost)))
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def watch(workspace: Workspace, said: list[str]) -> Watch:
    return Watch(workspace.clients, "phi-1", said.append, LIMITS)


def runner(workspace: Workspace, said: list[str], context: Any = None) -> CloudJobs:
    made = CloudJobs(workspace.clients, LIMITS, said.append, context)
    made.__dict__.update(blobs=workspace, _client_id="id")
    return made


def a_job(*, pipes: bool = False) -> CloudJob:
    return CloudJob("train", RECIPE, "t", "true", {}, {}, "phi/x/", "upload", {}, pipes=pipes)


def attempt(number: int) -> str:
    return job_name("train", RECIPE, number)


def answer(status: int, code: str = "") -> HttpResponseError:
    body = {"error": {"code": code, "message": "no"}}
    response: Any = SimpleNamespace(status_code=status, reason="", headers={}, json=lambda: body, text=lambda: "")
    return HttpResponseError("no", response=response)


def nothing() -> None:
    pass


@pytest.mark.parametrize("status", ["Starting", "Preparing", "NotResponding", "Finalizing", "Unknown"])
def test_a_job_that_never_ends_is_cancelled_at_the_end_of_every_limit(workspace, watch, status):
    workspace.states["phi-1"] = [status]
    with pytest.raises(NeverEnded, match=f"still {status} .*so it was cancelled.*{LINK}"):
        watch.to_the_end(nothing, seconds=600)
    assert workspace.cancelled == ["phi-1"]
    assert 600 + (10 + ALLOWANCE_MINUTES) * 60 <= workspace.clock[0] < 600 + (11 + ALLOWANCE_MINUTES) * 60


def test_waiting_for_a_machine_adds_up_over_states_that_come_and_go(workspace, watch):
    workspace.states["phi-1"] = ["Queued", "Queued", "Starting"] * 300
    with pytest.raises(NoMachine, match="PHI_AZURE_QUEUE_MINUTES"):
        watch.to_the_end(nothing, seconds=36_000)
    assert workspace.clock[0] < 20 * 60


def test_a_job_whose_machine_was_lost_waits_for_the_next_anew(workspace, watch):
    waits = ["Queued"] * 100
    workspace.states["phi-1"] = [*waits, "Running", *waits, "Running", "Completed"]
    assert watch.to_the_end(nothing, seconds=36_000) == Ended("phi-1", "Completed", LINK)


def test_a_submission_that_was_not_answered_is_waited_for_and_its_job_cancelled(workspace, watch):
    watch.in_flight = True
    workspace.submitted, workspace.lands_at = ["phi-1"], 40.0
    watch.cancel()
    assert workspace.cancelled == ["phi-1"]
    assert watch.over


def test_without_a_submission_nothing_is_waited_for(workspace, watch, said):
    watch.cancel()
    assert workspace.clock == [0.0]
    assert said[-1] == "job phi-1: never submitted"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), dg.DagsterExecutionInterruptedError()], ids=repr)
def test_an_interrupt_within_the_submission_cancels_the_job_that_it_made(workspace, said, interrupt):
    workspace.problem, workspace.lands_at = interrupt, 20.0
    with pytest.raises(type(interrupt)):
        runner(workspace, said).run(a_job(), lambda: True)
    assert workspace.cancelled == [attempt(1)]


def test_an_interrupt_while_the_context_is_written_cancels_the_adopted_job(workspace, said, monkeypatch):
    @contextmanager
    def interrupted(*_: Any) -> Iterator[None]:
        raise dg.DagsterExecutionInterruptedError
        yield

    monkeypatch.setattr(cloud_jobs, "open_pipes", interrupted)
    workspace.states[attempt(1)] = ["Running"]
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        runner(workspace, said).run(a_job(), lambda: True)
    assert workspace.cancelled == [attempt(1)]


def test_a_job_that_cannot_be_cancelled_is_said_and_the_run_stopped_all_the_same(workspace, said, monkeypatch):
    monkeypatch.setattr(Watch, "to_the_end", lambda *_: (_ for _ in ()).throw(dg.DagsterExecutionInterruptedError))
    workspace.states[attempt(1)] = ["Running"]
    workspace.cancel_problem = answer(403, "AuthorizationFailed")
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        runner(workspace, said).run(a_job(), lambda: True)
    assert f"job {attempt(1)} could not be cancelled" in said[-1]


def a_context(*statuses: dg.DagsterRunStatus) -> Any:
    """Of a run that is found in each of these states, the last one for good."""
    left = list(statuses)

    def found(_: str) -> Any:
        return SimpleNamespace(status=left.pop(0) if len(left) > 1 else left[0])

    return SimpleNamespace(instance=SimpleNamespace(get_run_by_id=found), run=SimpleNamespace(run_id="r"))


def test_a_run_whose_interrupt_was_swallowed_still_cancels_its_job(workspace, said):
    context = a_context(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
    workspace.states[attempt(1)] = ["Running"]
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        runner(workspace, said, context).run(a_job(), lambda: True)
    assert workspace.cancelled == [attempt(1)]


def test_a_stopped_run_that_lost_its_lease_leaves_the_job_to_the_run_that_took_it_over(workspace, said):
    context = a_context(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
    workspace.states[attempt(1)] = ["Running"]
    workspace.lost = "LeaseIdMismatchWithLeaseOperation"
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        runner(workspace, said, context).run(a_job(), lambda: True)
    assert workspace.cancelled == []
    assert any("is not cancelled: another run may have taken it over" in line for line in said)


def test_a_run_is_looked_at_now_and_then_and_a_busy_storage_stops_nothing(workspace):
    asked: list[str] = []

    def busy(run: str) -> Any:
        asked.append(run)
        raise OSError("database is locked")

    mine = OwnRun(a_context(dg.DagsterRunStatus.STARTED))
    mine.context.instance.get_run_by_id = busy  # type: ignore[union-attr]
    for _ in range(100):
        mine.raise_if_stopped()
        workspace.clock[0] += 1.0
    assert len(asked) == 100 / cloud_jobs.RUN_STATUS_SECONDS


def test_of_several_completed_attempts_the_newest_is_the_one(workspace, said):
    workspace.states = {attempt(1): ["Completed"], attempt(2): ["Completed"], attempt(3): ["Failed"]}
    assert runner(workspace, said).run(a_job(), lambda: True).name == attempt(2)
    assert workspace.submitted == []


def test_a_result_that_is_gone_is_made_by_a_new_attempt(workspace, said):
    workspace.states = {attempt(1): ["Completed"], attempt(2): ["Failed"]}
    assert runner(workspace, said).run(a_job(), lambda: bool(workspace.submitted)).name == attempt(3)


def test_messages_of_attempts_whose_run_died_are_removed(workspace, said):
    workspace.states = {attempt(1): ["Failed"], attempt(2): ["Canceled"], attempt(3): ["Completed"]}
    runner(workspace, said).run(a_job(pipes=True), lambda: True)
    assert workspace.removed == [pipes_folder(attempt(number)) for number in (1, 2, 3)]


def test_a_conflict_that_is_about_something_else_keeps_its_cause(workspace, said):
    workspace.problem = answer(409, "CodeVersionConflict")
    with pytest.raises(AzureRefused, match="CodeVersionConflict"):
        runner(workspace, said).run(a_job(), lambda: True)


def test_another_s_job_of_the_same_name_is_the_one(workspace, said, monkeypatch):
    def taken(name: str) -> None:
        workspace.states[name] = ["Completed"]
        raise answer(409, "Conflict")

    monkeypatch.setattr(workspace, "create_or_update", taken)
    assert runner(workspace, said).run(a_job(), lambda: True).name == attempt(1)


def test_a_role_that_is_simply_missing_makes_few_jobs(workspace, said, monkeypatch):
    attempts: list[float] = []

    def lacking(*_: Any) -> Ended:
        attempts.append(workspace.clock[0])
        raise RoleMissing(description="no role")

    monkeypatch.setattr(CloudJobs, "_attempt", lacking)
    with pytest.raises(RoleMissing):
        runner(workspace, said).run(a_job(), lambda: True)
    assert len(attempts) == 4
    assert attempts[-1] > 20 * 60, "a role may take that long"
    assert attempts[-1] <= 30 * 60
    assert sum("has not taken effect yet" in line for line in said) >= 20


def test_a_lost_answer_to_a_submission_is_asked_for(workspace, said):
    workspace.problem, workspace.lands_at = ServiceResponseError("reset"), 0.0
    workspace.states = {}
    found = runner(workspace, said)
    watch = Watch(workspace.clients, attempt(1), said.append, LIMITS)
    found._submit(a_job(), watch, {})
    assert workspace.submitted == [attempt(1)]
