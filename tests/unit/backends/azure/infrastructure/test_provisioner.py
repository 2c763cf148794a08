"""The cluster and the environment: created once, and unchanged by later runs."""

import pytest

from azure_emulator.identity.identities import USER
from phi_assets.backends.azure.client import credential, role_delay
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.infrastructure import compute, training_environment
from tests.support.azure_place import Place, names

pytestmark = pytest.mark.azure
NAMES = names()


@pytest.fixture
def place(control, tmp_path, monkeypatch) -> Place:
    """A deployed place."""
    control.clear_faults()
    credential.forget()
    monkeypatch.setattr(compute, "POLL_SECONDS", 0.05)
    found = Place(control, tmp_path, next(NAMES))
    found.deploy()
    control.forget_requests()
    return found


def test_before_the_deployment_the_asset_to_make_first_is_named(control, tmp_path):
    provisioner = Place(control, tmp_path, "never-deployed").resources["provisioner"]

    with pytest.raises(NotDeployed, match="materialise ml_workspace first"):
        provisioner.ensure_workspace()
    assert provisioner.find("0" * 64) is None


@pytest.mark.guide("managed-identity", "training-cluster")
def test_the_cluster_shrinks_to_nothing_and_works_as_the_jobs_identity(place):
    made = place.resources["provisioner"].ensure_compute()

    found = place.control.resource(f"{place.id('ml_workspace')}/computes/training")
    inner = found["properties"]["properties"]
    assert inner["vmSize"] == "Standard_NC24ads_A100_v4"
    assert inner["scaleSettings"]["minNodeCount"] == 0
    assert inner["scaleSettings"]["maxNodeCount"] == 1
    assert list(found["identity"]["userAssignedIdentities"]) == [place.id("managed_identity")]
    assert place.resources["provisioner"].find(made.digest) == made


@pytest.mark.guide("cpu-path")
def test_on_the_cpu_path_the_cluster_is_of_cpu_machines(place):
    cpu = Place(place.control, place.home, place.name, {"PHI_AZURE_VM_SIZE": "Standard_E16s_v3"})
    made = cpu.resources["provisioner"].ensure_compute()

    found = place.control.resource(f"{place.id('ml_workspace')}/computes/training")
    assert found["properties"]["properties"]["vmSize"] == "Standard_E16s_v3"
    assert made.device == "cpu"


def test_an_unchanged_cluster_and_environment_are_not_written_again(place):
    provisioner = place.resources["provisioner"]
    made = provisioner.ensure_compute(), provisioner.ensure_environment()
    place.control.forget_requests()

    assert (provisioner.ensure_compute(), provisioner.ensure_environment()) == made
    assert place.writes() == []


@pytest.mark.guide("training-cluster")
def test_more_nodes_change_the_cluster_in_place(place):
    place.resources["provisioner"].ensure_compute()

    more = Place(place.control, place.home, place.name, {"PHI_AZURE_NODES": "2"})
    more.resources["provisioner"].ensure_compute()

    found = place.control.resource(f"{place.id('ml_workspace')}/computes/training")
    assert found["properties"]["properties"]["scaleSettings"]["maxNodeCount"] == 2


@pytest.mark.guide("training-cluster")
def test_nodes_that_would_stand_idle_for_longer_are_drift_and_mended(place):
    made = place.resources["provisioner"].ensure_compute()
    cluster = f"{place.id('ml_workspace')}/computes/training"
    inner = place.control.resource(cluster)["properties"]["properties"]
    inner["scaleSettings"]["nodeIdleTimeBeforeScaleDown"] = "PT24H"
    place.control.change(cluster, properties=inner)

    failed = {name for name, found in place.resources["provisioner"].examine_compute().items() if not found.passed}
    assert failed == {"shrinks_to_nothing"}
    assert place.resources["provisioner"].find(made.digest) is None
    place.resources["provisioner"].ensure_compute()
    assert place.resources["provisioner"].find(made.digest) == made


def test_another_idle_time_reaches_the_cluster(place):
    place.resources["provisioner"].ensure_compute()

    patient = Place(place.control, place.home, place.name, {"PHI_AZURE_IDLE_MINUTES": "20"})
    patient.resources["provisioner"].ensure_compute()

    found = place.control.resource(f"{place.id('ml_workspace')}/computes/training")
    assert found["properties"]["properties"]["scaleSettings"]["nodeIdleTimeBeforeScaleDown"] == "PT20M"


def test_workspace_and_cluster_have_a_page_a_region_and_a_price(place):
    provisioner = place.resources["provisioner"]
    workspace = provisioner.resource(provisioner.ensure_workspace())
    cluster = provisioner.resource(provisioner.ensure_compute())

    assert workspace.portal == f"https://portal.azure.com/#resource{place.id('ml_workspace')}/overview"
    assert cluster.portal.startswith("https://ml.azure.com/compute/training/details?wsid=/subscriptions/")
    assert (workspace.region, cluster.region, cluster.sku) == ("eastus2", "eastus2", "Standard_NC24ads_A100_v4")
    assert "3.673 an hour" in cluster.costs


def test_a_cluster_of_another_size_is_refused_with_the_command(place):
    place.resources["provisioner"].ensure_compute()
    cpu = Place(place.control, place.home, place.name, {"PHI_AZURE_VM_SIZE": "Standard_E16s_v3"})

    with pytest.raises(AzureRefused, match="az ml compute delete --name training"):
        cpu.resources["provisioner"].ensure_compute()


def test_a_cluster_that_was_deleted_is_missing(place):
    made = place.resources["provisioner"].ensure_compute()
    place.control.delete(f"{place.id('ml_workspace')}/computes/training")

    assert place.resources["provisioner"].find(made.digest) is None


def test_a_lost_answer_makes_one_cluster(place):
    place.control.fail_next("PUT computes/training", "dropped")

    place.resources["provisioner"].ensure_compute()

    assert len(place.control.resources("Microsoft.MachineLearningServices/workspaces/computes", place.group)) == 1


def test_a_machine_that_is_not_offered_names_the_setting(place):
    place.control.size_unavailable("Standard_NC24ads_A100_v4")
    try:
        with pytest.raises(AzureRefused, match="PHI_AZURE_"):
            place.resources["provisioner"].ensure_compute()
    finally:
        place.control.size_unavailable("Standard_NC24ads_A100_v4", False)


@pytest.mark.guide("conda-yml", "training-environment")
def test_the_image_is_known_by_the_content_of_its_folder_and_what_it_decides_by_its_packages(place, monkeypatch):
    made = place.resources["provisioner"].ensure_environment()

    assert made.name == f"phi-training:{training_environment.version()}"
    assert made.packages["torch"]
    assert training_environment.reference(place.clients) == f"azureml:{made.name}"
    assert place.resources["provisioner"].find(made.digest) == made
    assert place.resources["provisioner"].differing_packages() == []
    # A new release makes a new image, which is missing here, and stays the environment that models were trained in.
    monkeypatch.setattr(training_environment, "version", lambda: "of another release")
    assert training_environment.digest() == made.digest
    assert place.resources["provisioner"].find(made.digest) is None


def test_a_role_that_is_on_its_way_is_waited_for_with_a_word(place, monkeypatch):
    """The environment's folder is uploaded with the person's own role on blobs."""
    monkeypatch.setattr(role_delay, "FIRST_WAIT", 0.2)
    (role,) = [
        role
        for role in place.control.roles(USER)
        if role["role"] == "Storage Blob Data Contributor"
        and role["scope"].lower() == place.id("storage_account").lower()
    ]
    place.control.take_role(role["id"])
    place.control.give_role(USER, role["role"], role["scope"], delay=2.0)

    said = []
    training_environment.ensure(place.clients, 1.0, said.append)

    assert any("a role has not taken effect yet; waiting" in words for words in said)


def test_a_role_that_never_arrives_is_named(place, monkeypatch):
    monkeypatch.setattr(role_delay, "FIRST_WAIT", 0.2)
    for role in place.control.roles(USER):
        if role["scope"].lower() == place.id("storage_account").lower():
            place.control.take_role(role["id"])

    with pytest.raises(AzureRefused, match="role_assignments"):
        training_environment.ensure(place.clients, 0.02, place.log)
