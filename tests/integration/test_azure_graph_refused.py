"""`phi run` when Azure refuses a call: one error that names the remedy, and nothing is created after it."""

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
def restored(azure: LocalAzure) -> Iterator[Control]:
    """The local Azure's control; the teardown restores capacity, quota, provider, sign-in and roles."""
    yield azure.control
    azure.control.clear_faults()
    azure.control.capacity(True)
    azure.control.sign_in("signed_in")
    azure.control.set_quota(FAMILY, 100)
    azure.control.set_provider(ML, "Registered")
    only(azure.control, "Owner")


def only(control: Control, *roles: str) -> None:
    """Give the signed-in user these roles on the subscription, and remove the others there."""
    for role in control.roles(USER):
        if role["scope"].count("/") == 2:
            control.take_role(role["id"])
    for role in roles:
        control.give_role(role=role)


def errors(home: Home, **settings: str) -> list[str]:
    """Run `phi run`, which must fail; return an entry for each asset that was not materialised, with its reason."""
    done = Home(home.folder, {**home.settings, **settings}).phi("run")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not done:\n" in done.stdout, done.stdout + done.stderr
    reported = done.stdout.partition("not done:\n")[2].partition("  Dagster's UI:")[0]
    return re.split(r"\n(?=  [a-z_]+: )", reported.rstrip("\n"))


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
def test_in_an_empty_subscription_one_error_names_the_remedy_and_nothing_is_made(azure, home, restored, case: str):
    refuse, settings, remedy = REFUSALS[case]
    refuse(restored)
    restored.forget_requests()

    reported = errors(home, **settings)

    assert len(reported) == 1, reported
    assert remedy in reported[0]
    made = [write for write in writes(azure) if not re.search(r"/register$|/whatIf$", write, re.I)]
    assert [write for write in made if "/deployments/" not in write] == []
    assert restored.resources("Microsoft.Resources/resourceGroups") == []


def test_an_image_that_cannot_be_built_stops_the_graph_at_the_model(azure, home, restored):
    restored.image_builds_fail()

    reported = errors(home)

    assert len(reported) == 1, reported
    assert reported[0].startswith("  fine_tuned_model: ")
    assert "fix training_code/environment/" in reported[0]
    assert restored.executed_jobs() == []
    assert restored.resources(f"{ML}/workspaces/models") == []


def test_without_a_free_machine_the_job_is_cancelled_and_nothing_follows(azure, home, restored):
    restored.capacity(False)

    reported = errors(home, PHI_AZURE_QUEUE_MINUTES="0.05")

    assert len(reported) == 1, reported
    assert "PHI_AZURE_QUEUE_MINUTES" in reported[0]
    assert restored.executed_jobs() == []
    assert restored.resources(f"{ML}/workspaces/models") == []


def jobs_role(control: Control, name: str) -> dict:
    """Return the role assignment of the identity that jobs run as."""
    (identity,) = control.resources("Microsoft.ManagedIdentity/userAssignedIdentities")
    (found,) = [role for role in control.roles(identity["properties"]["principalId"]) if role["role"] == name]
    return found


@pytest.mark.parametrize("name", ["Storage Blob Data Contributor", "AcrPull", "AzureML Data Scientist"])
def test_a_role_of_the_jobs_that_was_taken_away_is_given_again_before_the_job(azure, home, restored, name: str):
    """Drift: the next run detects and repairs it before anything that needs the role."""
    restored.capacity(False)
    restored.take_role(jobs_role(restored, name)["id"])

    reported = errors(home, PHI_AZURE_QUEUE_MINUTES="0.05")

    assert [line.partition(":")[0].strip() for line in reported] == ["fine_tuned_model"], reported
    assert jobs_role(restored, name)
    assert restored.executed_jobs() == []


@pytest.mark.parametrize("number", range(len(bicep_template.grants("keyless"))))
def test_a_role_that_was_taken_away_and_may_not_be_given_again_is_one_error(azure, home, restored, number: int):
    take_away(restored, home, number)
    only(restored, "Contributor")
    restored.forget_requests()

    reported = errors(home)

    assert len(reported) == 1, reported
    assert "--role 'Role Based Access Control Administrator'" in reported[0]
    assert restored.executed_jobs() == []
    assert [write for write in writes(azure) if "/deployments/" not in write] == []


def take_away(control: Control, home: Home, number: int) -> None:
    """Delete the role assignment of the template's row `number`."""
    (kept,) = (home.folder / "home" / "azure" / "deployments").glob("*-eastus2-*.json")
    role = json.loads(kept.read_text(encoding="utf-8"))["role_assignments"][number]
    assert control.delete(role) or control.take_role(role)


def test_quota_that_was_there_at_first_and_is_gone_stops_the_graph_before_a_job(azure, home, restored):
    restored.set_quota(FAMILY, 0)
    errors(home)  # assigns the role that the test before removed
    restored.forget_requests()

    reported = errors(home)

    assert len(reported) == 1, reported
    assert reported[0].startswith("  gpu_quota: check enough_quota failed")
    assert writes(azure) == []


def test_once_all_is_there_the_same_home_ends_well(azure, home, restored):
    assert {"fine_tuned_model", "registered_model", "chat_flow_evaluation"} <= home.run()
    assert len(azure.control.executed_jobs()) == 2
    assert len(restored.resources(f"{ML}/workspaces")) == 1
