"""What a teardown does not delete: resources of others, what Azure refuses, and everything without a confirmation."""

import dagster as dg
import pytest

from phi_assets.backends.azure.client import names as unique_names
from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.azure_errors import AzureRefused, GaveUp
from phi_assets.backends.azure.operations import teardown
from phi_assets.defs.operations.azure_operations import teardown as teardown_job
from tests.support.azure_place import Place, names
from tests.support.azure_teardown import (
    actions,
    left,
    phi,
    phi_at_a_terminal,
    plan,
    plant_endpoint,
    prepared,
    refuse_as_busy,
    serving,
    take_down,
)

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()


@pytest.fixture
def place(control, tmp_path, monkeypatch) -> Place:
    return prepared(control, tmp_path, next(NAMES), monkeypatch)


@pytest.mark.parametrize("tags", [{}, {"azd-env-name": "somebody-else"}])
def test_a_group_that_another_made_is_neither_filled_nor_deleted(place, tags):
    place.control.plant(place.group, {"location": "eastus2", "tags": tags})
    theirs = f"{place.group}/providers/Microsoft.Storage/storageAccounts/theirs"
    place.control.plant(theirs, {"location": "eastus2"})
    place.control.forget_requests()

    with pytest.raises(AzureRefused, match="PHI_AZURE_NAME"):
        place.deploy()
    with pytest.raises(AzureRefused, match=f"https://portal.azure.com/#@/resource{place.group}"):
        plan(place, True)
    with pytest.raises(AzureRefused, match=r"https://portal\.azure\.com"):
        take_down(place, True)

    assert place.writes() == []
    assert place.control.resource(theirs)
    assert place.control.resource(place.group)["tags"] == tags


def test_what_this_project_did_not_make_stops_a_teardown_of_everything(place):
    place.deploy()
    providers = f"{place.group}/providers"
    theirs = f"{providers}/Microsoft.Storage/storageAccounts/theirs"
    azures = f"{providers}/microsoft.alertsmanagement/smartDetectorAlertRules/Failure Anomalies - appi-x"
    for each in (theirs, azures):
        place.control.plant(each, {"location": "eastus2"})
    place.control.forget_requests()

    assert actions(place, True)["theirs"] == "block"
    assert [name for name, action in actions(place, True).items() if action != "delete"] == ["theirs"]
    with pytest.raises(AzureRefused, match=r"not created by this project.*storageAccounts theirs"):
        take_down(place, True)
    told = phi(place, "teardown", "--all", "--yes")
    assert told.returncode == 1
    assert "nothing was deleted: not created by this project" in told.stderr
    assert place.writes() == []

    place.control.delete(theirs)
    assert take_down(place, True) == []
    assert left(place) == []


def test_endpoints_and_machines_of_others_in_the_workspace_stay(place):
    mine = serving(place)
    workspace = rest.workspace_id(place.clients)
    plant_endpoint(place, f"{workspace}/onlineEndpoints/theirs", {})
    machine = f"{workspace}/computes/notebook"
    place.control.plant(machine, {"location": "eastus2", "properties": {"computeType": "ComputeInstance"}})
    assert [name for name, action in actions(place, False).items() if action == "keep"] == ["theirs", "notebook"]

    assert take_down(place, False) == []

    assert place.control.resource(f"{workspace}/onlineEndpoints/theirs")
    assert place.control.resource(machine)
    assert not place.control.resource(mine)
    with pytest.raises(AzureRefused, match="online endpoint theirs, ComputeInstance notebook"):
        take_down(place, True)


def test_another_region_than_the_groups_is_refused(place):
    place.deploy()
    elsewhere = Place(place.control, place.home, place.name, {"PHI_AZURE_LOCATION": "westus2"})

    for everything in (False, True):
        with pytest.raises(AzureRefused, match="is in eastus2, but PHI_AZURE_LOCATION is westus2"):
            plan(elsewhere, everything)


def test_a_deleted_vault_of_another_group_is_left_alone(place):
    name = unique_names.names(place.clients.account)["key_vault"]
    place.control.soft_delete_vault(name)

    assert name not in actions(place, True)
    assert take_down(place, True) == []

    assert any(each.endswith(f"/{name}") for each in place.control.soft_deleted())


def test_what_stays_busy_is_given_up_with_azures_own_words_said_once(place, monkeypatch):
    serving(place)
    refuse_as_busy(monkeypatch, "/computes/", 1000)
    monkeypatch.setattr(teardown, "MINUTES", 0.005)

    with pytest.raises(
        GaveUp, match=r"deleting training: gave up after .*there is an operation in progress.*; see the portal"
    ):
        take_down(place, False)

    assert len([words for words in place.said if "retrying until that has ended" in words]) == 1


def test_a_purge_that_is_refused_as_busy_is_asked_again(place, monkeypatch):
    place.deploy()
    workspace = place.id("ml_workspace")
    place.clients.send("DELETE", f"{workspace}?api-version={rest.WORKSPACES_VERSION}")
    while place.control.resource(workspace):
        pass
    refuse_as_busy(monkeypatch, "forceToPurge", 1)

    take_down(place, True)

    assert left(place) == []


@pytest.mark.documented("phi teardown")
def test_the_command_shows_asks_and_deletes_only_after_the_right_word(place):
    serving(place)

    nobody = phi(place, "teardown")
    wrong = phi(place, "teardown", input="yes\n")

    assert nobody.returncode == 1
    assert f"write {place.name} to standard input, or pass --yes" in nobody.stderr
    assert wrong.returncode == 1
    assert "nothing was deleted" in wrong.stdout
    assert f"chat-{place.name}/blue" in wrong.stdout
    assert len(plan(place, False)) == 3

    gone = phi_at_a_terminal(place, b"\x04")  # Ctrl-D
    assert (gone.returncode, gone.stderr) == (1, "")
    assert "nothing was deleted" in gone.stdout
    assert len(plan(place, False)) == 3

    right = phi(place, "teardown", input=f"{place.name}\n")
    assert right.returncode == 0, right.stderr
    assert plan(place, False) == []

    everything = phi(place, "teardown", "--all", "--yes")
    assert everything.returncode == 0, everything.stderr
    assert left(place) == []


def test_the_job_deletes_only_what_was_confirmed_by_name(place):
    serving(place)

    def launch(confirm: str) -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            return teardown_job.execute_in_process(
                run_config={"ops": {"take_down": {"config": {"confirm": confirm}}}},
                instance=instance,
                resources={"teardown": place.resources["teardown"]},
                raise_on_error=False,
            )

    refused = launch("")
    data = refused.failure_data_for_node("take_down")
    assert data
    assert data.user_failure_data
    assert f"confirm: {place.name}" in str(data.user_failure_data.description)
    assert "| cluster | training |" in str(data.user_failure_data.metadata["plan"].value)
    assert len(plan(place, False)) == 3

    assert launch(place.name).success
    assert plan(place, False) == []
