"""`phi run` where Azure refuses: one error, which names the remedy, and nothing made after it."""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from azure_emulator.control import Control
from azure_emulator.identity.identities import USER
from azure_emulator.process import LocalAzure
from phi_assets import bicep_template
from tests.integration.test_whole_azure_graph import azure_home, writes
from tests.support.homes import Home

pytestmark = [pytest.mark.long, pytest.mark.azure, pytest.mark.integration, pytest.mark.timeout(600)]

FAMILY = "standardNCADSA100v4Family"
ML = "Microsoft.MachineLearningServices"


@pytest.fixture(scope="module")
def home(azure: LocalAzure, tmp_path_factory) -> Iterator[Home]:
    its = azure_home(tmp_path_factory.mktemp("home"), 3730)
    yield its
    its.phi("down")


@pytest.fixture
def mended(azure: LocalAzure) -> Iterator[Control]:
    """The local Azure's control; afterwards everything is allowed and there again."""
    yield azure.control
    azure.control.clear_faults()
    azure.control.capacity(True)
    azure.control.sign_in("signed_in")
    azure.control.set_quota(FAMILY, 100)
    azure.control.set_provider(ML, "Registered")
    only(azure.control, "Owner")


def only(control: Control, *roles: str) -> None:
    """The person has these roles on the subscription, and no others there."""
    for role in control.roles(USER):
        if role["scope"].count("/") == 2:
            control.take_role(role["id"])
    for role in roles:
        control.give_role(role=role)


def errors(home: Home, **settings: str) -> list[str]:
    """What `phi run` says was not done and why, an entry for each asset."""
    done = Home(home.folder, {**home.settings, **settings}).phi("run")
    assert done.returncode == 1, done.stdout + done.stderr
    told = done.stdout.partition("not done:\n")[2].partition("  Dagster's UI:")[0]
    return re.split(r"\n(?=  [a-z_]+: )", told.rstrip("\n"))


def unregistered(control: Control) -> None:
    only(control, "Reader")
    control.set_provider(ML, "NotRegistered")


REFUSALS: dict[str, tuple[Callable[[Control], None], dict[str, str], str]] = {
    "signed out": (lambda control: control.sign_in("signed_out"), {}, "run `az login`"),
    "login expired": (lambda control: control.sign_in("expired"), {}, "run `az login`"),
    "no role": (lambda control: only(control), {}, "az role assignment create"),
    "a reader": (lambda control: only(control, "Reader"), {}, "az provider register --namespace"),
    "may not give roles": (
        lambda control: only(control, "Contributor"),
        {},
        "--role 'Role Based Access Control Administrator'",
    ),
    "unregistered provider": (unregistered, {}, f"az provider register --namespace {ML} --wait"),
    "wrong region": (lambda control: None, {"PHI_AZURE_LOCATION": "nowhere"}, "Set PHI_AZURE_LOCATION"),
    "region without services": (lambda control: None, {"PHI_AZURE_LOCATION": "japanwest"}, "Set PHI_AZURE_LOCATION"),
    "no quota": (lambda control: control.set_quota(FAMILY, 0), {}, "Request more: https://portal.azure.com/"),
    "too dear": (lambda control: None, {"PHI_AZURE_MAX_JOB_COST": "1"}, "raise PHI_AZURE_MAX_JOB_COST"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_in_an_empty_subscription_one_error_names_the_cure_and_nothing_is_made(azure, home, mended, case: str):
    refuse, settings, remedy = REFUSALS[case]
    refuse(mended)
    mended.forget_requests()

    told = errors(home, **settings)

    assert len(told) == 1, told
    assert remedy in told[0]
    made = [write for write in writes(azure) if not re.search(r"/register$|/whatIf$", write, re.I)]
    assert [write for write in made if "/deployments/" not in write] == []
    assert mended.resources("Microsoft.Resources/resourceGroups") == []


def test_an_image_that_cannot_be_built_stops_the_graph_at_the_model(azure, home, mended):
    mended.image_builds_fail()

    told = errors(home)

    assert len(told) == 1, told
    assert told[0].startswith("  fine_tuned_model: ")
    assert "fix training_code/environment/" in told[0]
    assert mended.executed_jobs() == []
    assert mended.resources(f"{ML}/workspaces/models") == []


def test_without_a_free_machine_the_job_is_cancelled_and_nothing_follows(azure, home, mended):
    mended.capacity(False)

    told = errors(home, PHI_AZURE_QUEUE_MINUTES="0.05")

    assert len(told) == 1, told
    assert "PHI_AZURE_QUEUE_MINUTES" in told[0]
    assert mended.executed_jobs() == []
    assert mended.resources(f"{ML}/workspaces/models") == []


def jobs_role(control: Control, name: str) -> dict:
    """The role of the identity that jobs run as."""
    (identity,) = control.resources("Microsoft.ManagedIdentity/userAssignedIdentities")
    (found,) = [role for role in control.roles(identity["properties"]["principalId"]) if role["role"] == name]
    return found


@pytest.mark.parametrize("name", ["Storage Blob Data Contributor", "AcrPull", "AzureML Data Scientist"])
def test_a_role_of_the_jobs_that_was_taken_away_is_given_again_before_the_job(azure, home, mended, name: str):
    """Drift: the next run finds it and mends it, before anything that needs it."""
    mended.capacity(False)
    mended.take_role(jobs_role(mended, name)["id"])

    told = errors(home, PHI_AZURE_QUEUE_MINUTES="0.05")

    assert [line.partition(":")[0].strip() for line in told] == ["fine_tuned_model"], told
    assert jobs_role(mended, name)
    assert mended.executed_jobs() == []


@pytest.mark.parametrize("number", range(len(bicep_template.grants("keyless"))))
def test_a_role_that_was_taken_away_and_may_not_be_given_again_is_one_error(azure, home, mended, number: int):
    take_away(mended, home, number)
    only(mended, "Contributor")
    mended.forget_requests()

    told = errors(home)

    assert len(told) == 1, told
    assert "--role 'Role Based Access Control Administrator'" in told[0]
    assert mended.executed_jobs() == []
    assert [write for write in writes(azure) if "/deployments/" not in write] == []


def take_away(control: Control, home: Home, number: int) -> None:
    """The role assignment of the template's row `number` is gone."""
    (kept,) = (home.folder / "home" / "azure" / "deployments").glob("*-eastus2-*.json")
    role = json.loads(kept.read_text(encoding="utf-8"))["role_assignments"][number]
    assert control.delete(role) or control.take_role(role)


def test_quota_that_was_there_at_first_and_is_gone_stops_the_graph_before_a_job(azure, home, mended):
    mended.set_quota(FAMILY, 0)
    errors(home)  # gives the role again that the test before took away
    mended.forget_requests()

    told = errors(home)

    assert len(told) == 1, told
    assert told[0].startswith("  gpu_quota: check enough_quota failed")
    assert writes(azure) == []


def test_once_all_is_there_the_same_home_ends_well(azure, home, mended):
    assert {"fine_tuned_model", "registered_model", "chat_flow_evaluation"} <= home.run()
    assert len(azure.control.executed_jobs()) == 2
    assert len(mended.resources(f"{ML}/workspaces")) == 1
