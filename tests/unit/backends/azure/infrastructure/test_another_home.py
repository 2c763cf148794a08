"""A machine that deployed nothing finds what another one deployed, by the deployment's fixed name."""

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client import credential, outputs
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.infrastructure import live_state
from tests.support.azure_place import Place, names

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()


@pytest.fixture
def place(control: Control, tmp_path) -> Place:
    credential.forget()
    live_state.forget()
    return Place(control, tmp_path / "first", next(NAMES))


@pytest.fixture
def elsewhere(place: Place, tmp_path) -> Place:
    return Place(place.control, tmp_path / "second", place.name)


def test_another_home_finds_every_resource_and_reads_the_deployment_once(place, elsewhere):
    made = place.deploy()
    place.control.forget_requests()

    assert {name: elsewhere.resources["cloud_resources"].find(record.digest) for name, record in made.items()} == made
    assert elsewhere.id("key_vault") == place.id("key_vault")
    assert [each for each in place.control.requests() if "/deployments/" in each["path"]] != []
    assert place.writes() == []
    assert outputs.read(elsewhere.clients.account) == outputs.read(place.clients.account)
    place.control.forget_requests()
    assert elsewhere.id("ml_workspace") == place.id("ml_workspace")
    assert place.control.requests() == []


def test_before_the_deployment_another_home_is_told_what_to_materialise(place, elsewhere):
    with pytest.raises(NotDeployed, match=r"key_vault of .* was not deployed; materialise key_vault first"):
        elsewhere.id("key_vault")
    place.control.forget_requests()
    with pytest.raises(NotDeployed):
        elsewhere.id("key_vault")
    assert place.control.requests() == []  # asked again after half a minute


def test_a_group_that_was_deleted_is_not_deployed_although_the_deployment_is_recorded(place, elsewhere):
    place.deploy()
    place.control.delete(place.group)

    assert elsewhere.clients.outputs() is None
