"""Teardown against the local Azure: it deletes what its plan shows, leaves nothing, and frees the names."""

import pytest

from phi_assets import bicep_template
from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.infrastructure import compute, live_state, training_environment
from phi_assets.backends.azure.storage import blob
from tests.support.azure_place import Place, names
from tests.support.azure_teardown import (
    CLUSTER,
    actions,
    left,
    phi,
    plan,
    prepared,
    serving,
    stands,
    take_down,
    workspace_name,
)

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()


@pytest.fixture
def place(control, tmp_path, monkeypatch) -> Place:
    return prepared(control, tmp_path, next(NAMES), monkeypatch)


@pytest.mark.guide("delete-endpoint")
def test_by_default_what_costs_money_while_idle_goes_and_the_rest_stays(place):
    serving(place)
    name = f"chat-{place.name}"
    assert plan(place, False) == [
        ("deployment", f"{name}/blue"),
        ("online endpoint", name),
        ("cluster", "training"),
    ]

    assert take_down(place, False) == []

    assert plan(place, False) == []
    assert stands(place)
    place.control.forget_requests()
    assert take_down(place, False) == []
    assert place.writes() == []
    assert place.resources["provisioner"].find(CLUSTER.record.digest) is None


@pytest.mark.guide("delete-endpoint")
def test_everything_goes_soft_deleted_things_too_and_a_run_makes_it_again_under_the_same_names(place):
    serving(place)
    made = place.deploy()
    shown = plan(place, True)
    resources = {row["name"] for row in rest.resources(place.clients, place.log)}
    assert len(resources) >= 7
    assert resources | {f"rg-{place.name}"} <= {name for _, name in shown}
    before = set(place.existing())

    assert take_down(place, True) == []

    assert left(place) == []
    assert plan(place, True) == [("deleted workspace", workspace_name(place))]
    # What `phi status` asks: nothing is there, and nobody waits for a storage account that is gone.
    assert all(place.resources["cloud_resources"].find(record.digest) is None for record in made.values())
    assert place.resources["provisioner"].find(CLUSTER.record.digest) is None
    assert place.resources["registry"].champion() is None
    again = place.deploy()
    compute.ensure(place.clients, CLUSTER, place.log)
    assert {name: record.address for name, record in again.items()} == {n: r.address for n, r in made.items()}
    assert stands(place)
    assert {each for each in before if "/onlineEndpoints/" not in each} == set(place.existing())


def test_what_is_made_again_knows_no_job_and_no_file_of_the_first(place):
    from azure.ai.ml import command
    from azure.ai.ml.entities import ManagedIdentityConfiguration

    name = f"job-{place.name}"
    for time in (1, 2):
        place.deploy()
        compute.ensure(place.clients, CLUSTER, place.log)
        training_environment.ensure(place.clients, 1.0, place.log)
        blobs = blob.WorkspaceBlobs(place.clients, place.log, 1.0)
        assert blobs.size("phi/kept") is None
        blobs.write("phi/kept", b"of the first")

        identity = place.control.resource(place.id("managed_identity"))["properties"]
        asked = {"environment": training_environment.reference(place.clients), "compute": compute.NAME}
        jobs = place.clients.ml().jobs
        jobs.create_or_update(
            command(
                name=name,
                command="echo hello",
                identity=ManagedIdentityConfiguration(client_id=identity["clientId"]),
                **asked,
            )
        )
        while jobs.get(name).status not in ("Completed", "Failed"):
            pass
        assert jobs.get(name).status == "Completed"
        assert place.control.executed_jobs().count(name) == time
        take_down(place, True)


def test_twice_is_as_good_as_once(place):
    serving(place)
    take_down(place, True)
    place.control.forget_requests()

    assert take_down(place, True) == []

    assert left(place) == []
    # Azure does not say whether it keeps a workspace's name: it is asked to forget it each time.
    assert {request["verb"] for request in place.control.requests(writes_only=True)} <= {"DELETE"}


def test_a_protected_vault_stays_is_named_and_is_taken_back(place):
    place.others["PHI_AZURE_PURGE_PROTECTION"] = "true"
    place.deploy()
    vault = place.id("key_vault")

    kept = take_down(place, True)

    assert len(kept) == 1
    assert "purge protection forbids" in kept[0]
    assert left(place) == [vault]
    again = phi(place, "teardown", "--all", "--yes")
    assert again.returncode == 0, again.stderr
    assert "it is gone" not in again.stdout
    assert "purge protection forbids" in again.stdout
    assert actions(place, True) == {workspace_name(place): "delete", vault.rpartition("/")[2]: "keep"}
    assert left(place) == [vault]
    place.deploy()
    assert f"recovering the deleted key vault {vault.rpartition('/')[2]}" in place.said
    assert place.id("key_vault") == vault
    assert stands(place)
    assert place.control.soft_deleted() == []


@pytest.mark.parametrize("moment", ["deleting mlw-", "deleting rg-", "purging"])
def test_one_that_was_cut_short_is_ended_by_the_next(place, moment):
    place.deploy()

    def stopped(words: str) -> None:
        if words.startswith(moment):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.resources["teardown"].take_down(True, stopped)

    assert take_down(place, True) == []
    assert left(place) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", [1])
def test_a_third_of_the_calls_failing_still_leaves_nothing(place, seed):
    serving(place)
    place.control.hold_seconds(0.1)
    place.control.fail_randomly(0.3, seed)

    assert take_down(place, True) == []

    place.control.clear_faults()
    assert left(place) == []


def test_a_workspace_that_was_deleted_by_hand_names_the_remedy(place):
    place.deploy()
    workspace = place.id("ml_workspace")
    place.clients.send("DELETE", f"{workspace}?api-version={rest.WORKSPACES_VERSION}")
    live_state.forget()

    with pytest.raises(AzureRefused, match="for 14 days: purge it with phi teardown --all"):
        place.deploy()

    take_down(place, True)
    place.deploy()
    assert stands(place)


def test_a_vault_that_was_deleted_by_hand_is_taken_back(place):
    place.deploy()
    vault = place.id("key_vault")
    place.clients.send("DELETE", f"{vault}?api-version={bicep_template.api_version('Microsoft.KeyVault/vaults')}")

    place.deploy()

    assert stands(place)
    assert place.control.soft_deleted() == []


def test_a_teardown_before_any_run_finds_only_what_azure_may_keep(place):
    assert plan(place, False) == []
    assert plan(place, True) == [("deleted workspace", workspace_name(place))]
    assert take_down(place, True) == []


def test_a_workspace_that_azure_may_keep_is_asked_about_before_it_is_ended(place):
    place.deploy()
    workspace = place.id("ml_workspace")
    place.clients.send("DELETE", f"{place.group}?api-version=2021-04-01")
    while place.existing():
        pass
    assert workspace.lower() in left(place)

    nobody = phi(place, "teardown", "--all", input="no\n")
    assert nobody.returncode == 1
    assert "purged, if Azure still retains one" in nobody.stdout
    assert workspace.lower() in left(place)

    said = phi(place, "teardown", "--all", input=f"{place.name}\n")
    assert said.returncode == 0, said.stderr
    assert (
        f"Azure was asked to purge what it may have retained: deleted workspace {workspace_name(place)}" in said.stdout
    )
    assert workspace.lower() not in left(place)
