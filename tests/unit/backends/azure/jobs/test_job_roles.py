"""Roles that a job, its submission or its user lacks on the local Azure: waited for, and named with the remedy."""

import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.dataset.store import ASSET as DATASET
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, JobLimits
from phi_assets.backends.azure.jobs.spec import CloudJob, recipe
from phi_assets.backends.azure.storage import data_assets
from tests.support import azure_jobs
from tests.support.azure_jobs import MARKS, Work, another_recipe, names_of_jobs, published
from tests.support.azure_place import Place, person_with

pytestmark = MARKS
RECIPES = itertools.count(1)
STORAGE_ROLE = "Storage Blob Data Contributor"


@pytest.fixture(scope="module")
def whole(control: Control, tmp_path_factory) -> Work:
    return published(Place(control, tmp_path_factory.mktemp("home")))


@pytest.fixture
def work(whole: Work, control: Control) -> Work:
    """The same place, and a recipe that no other test trains."""
    control.clear_faults()
    return another_recipe(whole, next(RECIPES))


@pytest.fixture(params=[STORAGE_ROLE, "AcrPull"])
def job_role(work: Work, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A role of the identity that jobs run as, given back after the test."""
    identity = work.control.resource(work.place.id("managed_identity"))
    assert identity
    oid = identity["properties"]["principalId"]
    (role,) = [role for role in work.control.roles(oid) if role["role"] == request.param]
    yield role
    if role["role"] not in {found["role"] for found in work.control.roles(oid)}:
        work.control.role_delay(0)
        work.control.give_role(oid, role["role"], role["scope"])


REFUSED = {STORAGE_ROLE: "AuthorizationPermissionMismatch", "AcrPull": "Failed to pull Docker image"}


@pytest.mark.guide("role-storage", "role-acrpull")
def test_a_job_whose_identity_lacks_a_role_fails_with_the_remedy(work: Work, job_role):
    work.control.take_role(job_role["id"])
    work.role_minutes = 0.02
    outcome = work.train()
    assert not outcome.success
    assert "materialise role_assignments" in outcome.failure
    assert REFUSED[job_role["role"]] in outcome.failure


def test_a_role_that_takes_its_time_is_waited_for(work: Work, job_role):
    work.control.take_role(job_role["id"])
    given = partial(work.control.give_role, job_role["oid"], job_role["role"], job_role["scope"])
    said = run_small_job(work, 0.5, given, dataset=data_assets.reference(DATASET, work.dataset.digest))
    assert any("of the job's identity has not taken effect yet" in line for line in said)


@pytest.mark.parametrize("roles", [(), ("Reader",)], ids=["none", "Reader"])
def test_who_may_not_make_jobs_is_told_the_command_and_none_is_made(work: Work, roles):
    work.role_minutes = 0.03
    before = names_of_jobs(work)
    with person_with(work.place, *roles):
        outcome = work.train()
    assert "az role assignment create" in outcome.failure
    assert "PHI_AZURE_ROLE_MINUTES" in outcome.failure
    assert "Traceback" not in outcome.failure
    assert names_of_jobs(work) == before


def test_what_the_machine_cannot_train_is_refused_and_no_job_is_made(work: Work, monkeypatch):
    before = names_of_jobs(work)
    monkeypatch.setattr(azure_jobs, "PRESET", re.sub(r"(?m)^method: .*$", "method: qlora", azure_jobs.PRESET))
    work.limits["vm_size"] = "Standard_E16s_v3"
    outcome = work.train()
    assert "qlora needs a GPU and Standard_E16s_v3 has none" in outcome.failure
    assert names_of_jobs(work) == before


@pytest.fixture
def upload_role(work: Work) -> Iterator[dict[str, Any]]:
    """The role on storage of the workspace, with which it signs for the upload of a job's code; given back later."""
    workspace = work.control.resource(work.place.id("ml_workspace"))
    assert workspace
    oid = workspace["identity"]["principalId"]
    (role,) = [role for role in work.control.roles(oid) if role["role"] == STORAGE_ROLE]
    yield role
    if STORAGE_ROLE not in {found["role"] for found in work.control.roles(oid)}:
        work.control.give_role(oid, STORAGE_ROLE, role["scope"])


def run_small_job(
    work: Work, role_minutes: float, when_waiting: Callable[[], object] | None = None, **inputs: str
) -> list[str]:
    """What was said while a job was run that does nothing, and whose submission is the first to write to storage.

    `when_waiting` is called once, when it is first said that a role is waited for.
    """
    said: list[str] = []
    called: list[object] = []

    def log(words: str) -> None:
        said.append(words)
        if when_waiting and not called and "has not taken effect yet" in words:
            called.append(when_waiting())

    limits = JobLimits("Standard_NC24ads_A100_v4", 1.0, 5.0, role_minutes, 0.3)
    made_of = recipe("nothing", str(work.recipe))
    file = work.state / "nothing.txt"
    file.write_text(made_of, encoding="utf-8")  # what was uploaded once is not uploaded again
    job = CloudJob("read", made_of, "nothing", "echo done", {file.name: file}, inputs, f"phi/{made_of}/", "upload", {})
    CloudJobs(work.place.clients, limits, log).run(job, lambda: True)
    return said


def test_a_role_on_storage_that_the_submission_lacks_is_waited_for(work: Work, upload_role):
    work.control.take_role(upload_role["id"])
    before = names_of_jobs(work)
    with pytest.raises(AzureRefused, match=r"submitting job .* materialise role_assignments"):
        run_small_job(work, 0.03)
    assert names_of_jobs(work) == before
    given = partial(work.control.give_role, upload_role["oid"], STORAGE_ROLE, upload_role["scope"])
    said = run_small_job(work, 0.5, given)
    assert any("submitting job" in line and "a role has not taken effect yet" in line for line in said)
    assert len(names_of_jobs(work)) == len(before) + 1
