"""Several people, and a pipeline, deploy one project to the local Azure: each has their own roles."""

import pytest

from azure_emulator.control import Control
from azure_emulator.identity.identities import TENANT
from phi_assets import bicep_template
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.infrastructure import live_state
from tests.support.azure_place import Place, names

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()


@pytest.fixture
def place(control: Control, tmp_path) -> Place:
    """A place nobody has been to, signed in as an owner."""
    control.sign_in("signed_in")
    credential.forget()
    live_state.forget()
    return Place(control, tmp_path, next(NAMES))


def pipeline(control: Control, environment: pytest.MonkeyPatch) -> dict[str, str]:
    """Sign in as a new service principal that owns the subscription."""
    made = control.new_service_principal("pipeline")
    control.give_role(made["oid"], "Owner", delay=0)
    signed_in = {"AZURE_CLIENT_ID": made["client_id"], "AZURE_CLIENT_SECRET": made["secret"], "AZURE_TENANT_ID": TENANT}
    for name, value in signed_in.items():
        environment.setenv(name, value)
    return made


def roles_in(place: Place) -> set[str]:
    """Return the ids of all role assignments in the place, those on the database too."""
    found = [each for kind in live_state.ROLE_KINDS for each in place.control.resources(kind)]
    return {str(each["id"]).lower() for each in found if place.group.lower() in str(each["id"]).lower()}


def test_what_a_service_principal_deploys_is_given_to_a_service_principal(place, monkeypatch):
    made = pipeline(place.control, monkeypatch)

    place.deploy()

    assert place.failed_checks("role_assignments") == []
    roles = place.control.roles(made["oid"])
    assert "Storage Blob Data Contributor" in {role["role"] for role in roles}
    (principal_type,) = {
        each["properties"]["principalType"]
        for each in place.control.resources("Microsoft.Authorization/roleAssignments")
        if each["properties"]["principalId"] == made["oid"] and place.group.lower() in each["id"].lower()
    }
    assert principal_type == "ServicePrincipal"


def test_a_second_person_gets_their_roles_once_and_the_first_ones_stay(place, tmp_path):
    """A pipeline beside the person who deployed first: each deploys at most once, and neither undoes the other's."""
    made = place.deploy()
    first = roles_in(place)

    with pytest.MonkeyPatch.context() as signed_in:
        pipeline(place.control, signed_in)
        second = Place(place.control, tmp_path / "second", place.name)
        assert second.deploy() == made
        assert second.failed_checks("role_assignments") == []
        both = roles_in(place)
        assert both > first
        assert len(both) == len(first) + len([grant for grant in bicep_template.grants("keyless") if grant.to != "job"])
        place.control.forget_requests()
        second.deploy()
        assert place.writes() == []

    live_state.forget()
    place.control.forget_requests()
    assert place.deploy() == made
    assert place.failed_checks("role_assignments") == []
    assert place.writes() == []
    assert roles_in(place) == both
