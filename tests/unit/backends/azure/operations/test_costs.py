"""The cost estimate of existing resources and of past jobs, against the local Azure."""

import datetime as dt
import json
import os
import subprocess
import sys

import dagster as dg
import pytest

from phi_assets.backends.azure.client import credential, rest
from phi_assets.backends.azure.client.names import endpoint_name
from phi_assets.backends.azure.infrastructure import compute, deployment_run, live_state
from phi_assets.backends.azure.infrastructure.prices import price_per_hour
from phi_assets.backends.azure.operations import costs
from phi_assets.defs.operations.azure_operations import cost
from phi_assets.ports.operations import Bill
from phi_assets.project import PROJECT
from tests.support.azure_place import Place
from tests.support.graph_facts import AZURE

pytestmark = [pytest.mark.azure, pytest.mark.integration]
A100 = "Standard_NC24ads_A100_v4"
HOUR = price_per_hour(A100, "eastus2")


@pytest.fixture(scope="module")
def deployed(control, tmp_path_factory) -> Place:
    """A deployed place with its cluster, and no node."""
    credential.forget()
    live_state.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute, "POLL_SECONDS", 0.05)
        patch.setattr(deployment_run, "FIRST_POLL", 0.1)
        place = Place(control, tmp_path_factory.mktemp("place"))
        place.deploy()
        compute.ensure(place.clients, compute.Cluster(A100, 2, 5), place.log)
    return place


@pytest.fixture
def place(deployed) -> Place:
    deployed.control.clear_faults()
    return deployed


def measure(place: Place, budget: float | None = None) -> Bill:
    account = place.clients.account.fields
    return costs.AzureCosts(account=account, vm_size=A100, monthly_budget=budget).measure(place.log)


def plant_job(place: Place, name: str, started: dt.datetime | None, minutes: float | None, status: str) -> None:
    workspace = rest.workspace_id(place.clients)
    ended = started + dt.timedelta(minutes=minutes) if started and minutes is not None else None
    times = {"started": started and started.isoformat(), "ended": ended and ended.isoformat()}
    place.control.plant(
        f"{workspace}/jobs/{name}",
        {
            "properties": {
                "jobType": "Command",
                "displayName": f"fine-tune [/{name}]",
                "status": status,
                "computeId": f"{workspace}/computes/training",
                "outputs": {},
                "tags": {},
                "properties": {},
            }
        },
        times,
    )


def plant_deployment(place: Place, endpoint: str, name: str, size: str, instances: int) -> None:
    address = f"{rest.workspace_id(place.clients)}/onlineEndpoints/{endpoint}"
    place.control.plant(address, {"location": "eastus2", "properties": {"authMode": "Key"}})
    body = {"location": "eastus2", "sku": {"capacity": instances}, "properties": {"instanceType": size}}
    place.control.plant(f"{address}/deployments/{name}", body)


def row(bill: Bill, name: str):
    return next(each for each in bill.standing if each.name == name)


def test_every_resource_of_the_group_stands_in_the_bill_with_its_price(place):
    bill = measure(place)

    there = {str(each["name"]) for each in rest.resources(place.clients, place.log)}
    assert there <= {each.name for each in bill.standing}
    registry = place.id("container_registry").rpartition("/")[2]
    assert row(bill, registry).dollars_a_day == pytest.approx(5 / 30, abs=1e-3)
    assert row(bill, "training").what == f"0 x {A100} now"
    assert row(bill, "training").dollars_a_day == 0
    assert bill.dollars_a_day == pytest.approx(5 / 30, abs=0.01)
    assert any("not compared with Azure's list" in note for note in bill.notes)


@pytest.mark.guide("delete-endpoint")
def test_nodes_and_instances_cost_by_the_day_for_as_long_as_they_are_there(place):
    cluster = f"{rest.workspace_id(place.clients)}/computes/training"
    inner = place.control.resource(cluster)["properties"]["properties"]
    place.control.change(cluster, properties={**inner, "currentNodeCount": 2})
    plant_deployment(place, "chat", "blue", "Standard_E4s_v3", 3)
    plant_deployment(place, "chat", "green", "Standard_Unknown", 1)
    try:
        bill = measure(place)
    finally:
        place.control.change(cluster, properties={**inner, "currentNodeCount": 0})
        place.control.delete(f"{rest.workspace_id(place.clients)}/onlineEndpoints/chat")

    assert row(bill, "training").dollars_a_day == pytest.approx(2 * 24 * HOUR, abs=0.01)
    assert row(bill, "chat/blue").dollars_a_day == pytest.approx(3 * 24 * 0.252, abs=0.01)
    assert row(bill, "chat/green").what == "1 x Standard_Unknown, price unknown"


def test_a_job_costs_its_minutes_on_its_machine_and_a_running_one_until_now(place):
    now = dt.datetime.now(dt.UTC)
    plant_job(place, "done", now - dt.timedelta(hours=3), 90, "Completed")
    plant_job(place, "going", now - dt.timedelta(minutes=30), None, "Running")
    plant_job(place, "waiting", None, None, "Queued")

    jobs = {job.name: job for job in measure(place).jobs}

    assert jobs["done"].dollars == pytest.approx(1.5 * HOUR, abs=0.01)
    assert (jobs["done"].ended, jobs["going"].ended) == (True, False)
    assert jobs["going"].minutes == pytest.approx(30, abs=1)
    assert (jobs["waiting"].minutes, jobs["waiting"].dollars) == (0, 0)


def test_what_is_left_of_the_budget_counts_this_month_only(place):
    now = dt.datetime.now(dt.UTC)
    before = measure(place, budget=100)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    plant_job(place, "last-month", month - dt.timedelta(hours=30), 600, "Completed")
    plant_job(place, "this-month", month, 60, "Completed")

    bill = measure(place, budget=100)

    assert bill.left is not None
    assert before.left is not None
    assert before.left - bill.left == pytest.approx(HOUR, abs=0.1)
    assert bill.left == pytest.approx(100 - bill.spent_this_month, abs=0.01)
    assert measure(place).left is None


def test_what_cannot_be_priced_says_so(place):
    now = dt.datetime.now(dt.UTC)
    plant_job(place, "endless", now - dt.timedelta(hours=5), None, "Failed")
    account = place.clients.account.fields
    workspace = rest.workspace_id(place.clients)
    plant_job(place, "unpriced", now - dt.timedelta(hours=2), 60, "Completed")
    job = place.control.resource(f"{workspace}/jobs/unpriced")
    assert job
    place.control.change(f"{workspace}/jobs/unpriced", computeId=f"{workspace}/computes/gone")
    try:
        bill = costs.AzureCosts(account=account, vm_size="Standard_Unknown", monthly_budget=None).measure(place.log)
    finally:
        for name in ("endless", "unpriced"):
            place.control.delete(f"{workspace}/jobs/{name}")

    jobs = {job.name: job for job in bill.jobs}
    assert (jobs["endless"].minutes, jobs["endless"].remark) == (0, "Azure reports no end time: not counted")
    assert jobs["unpriced"].dollars == 0
    assert jobs["unpriced"].remark == "the price table has no row for Standard_Unknown: not counted"


def test_another_home_sees_the_same_bill(place, tmp_path):
    now = dt.datetime.now(dt.UTC)
    plant_job(place, "elsewhere", now - dt.timedelta(hours=3), 90, "Completed")
    ours = endpoint_name(place.clients.account)
    plant_deployment(place, ours, "blue", "Standard_E4s_v3", 1)
    clone = Place(place.control, tmp_path, place.name)
    quota = clone.resources["compute_quota"]
    try:
        mine, theirs = measure(place), measure(clone)
        serving = quota._serving(clone.log)
    finally:
        place.control.delete(f"{rest.workspace_id(place.clients)}/onlineEndpoints/{ours}")

    assert [(job.name, job.dollars) for job in theirs.jobs if job.ended] == [
        (job.name, job.dollars) for job in mine.jobs if job.ended
    ]
    assert "elsewhere" in {job.name for job in theirs.jobs}
    # The quota's numbers too leave out what is our own.
    assert [live.vcpus for live in serving] == [8]


def test_a_third_of_the_calls_failing_changes_no_number(place):
    before = measure(place)
    place.control.hold_seconds(0.1)
    place.control.fail_randomly(0.3, 5)

    after = measure(place)

    assert after.dollars_a_day == before.dollars_a_day
    assert [job.name for job in after.jobs] == [job.name for job in before.jobs]


def test_looking_writes_nothing(place):
    place.control.forget_requests()

    measure(place)

    assert place.writes() == []


def test_before_a_deployment_nothing_stands_and_nothing_costs(control, tmp_path):
    bill = measure(Place(control, tmp_path, "nowhere"), budget=10)

    assert (bill.standing, bill.jobs, bill.dollars_a_day, bill.left) == ((), (), 0, 10)


@pytest.mark.documented("phi cost")
def test_the_command_and_the_job_tell_the_bill(place):
    variables = {
        **AZURE,
        "PHI_AZURE_NAME": place.name,
        "PHI_HOME": str(place.home),
        "PHI_AZURE_MONTHLY_BUDGET": "250",
    }
    command = [sys.executable, "-m", "phi_assets.cli.main", "cost"]

    def told(*arguments: str) -> str:
        env = {**os.environ, **variables}
        done = subprocess.run([*command, *arguments], cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    as_json = json.loads(told("--json"))
    assert as_json["left"] == pytest.approx(250 - as_json["spent_this_month"], abs=0.01)
    plant_job(place, "bracketed", dt.datetime.now(dt.UTC) - dt.timedelta(minutes=2), 1, "Completed")
    shown = told()
    assert "budget left" in shown
    assert "fine-tune [/bracketed]" in shown

    with dg.DagsterInstance.ephemeral() as instance:
        result = cost.execute_in_process(
            instance=instance, resources={"cost_report": place.resources["cost_report"]}, raise_on_error=False
        )
        assert result.success
        outputs = [
            event.step_output_data.metadata
            for event in result.all_events
            if event.event_type_value == "STEP_OUTPUT" and event.step_key == "report_costs"
        ]
    assert "training" in str(outputs[0]["standing"].value)
    assert outputs[0]["dollars_a_day"].value == as_json["dollars_a_day"]
