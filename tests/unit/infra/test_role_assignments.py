"""Who may do what after a deployment, in each of the two access modes."""

import json
from typing import Any, NamedTuple

import pytest

from phi_assets import bicep_template
from tests.support.evaluated_template import (
    DEPLOYER,
    SUBSCRIPTION,
    TEMPLATE,
    Installation,
    installation,
    needs_compiler,
)

pytestmark = needs_compiler

ROLES = {
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "f6c7c914-8db3-469d-8ca1-694a8f32e121": "AzureML Data Scientist",
}


class Grant(NamedTuple):
    """A role assignment: the principal, the role, and the asset of the resource that is its scope."""

    to: str
    role: str
    on: str


def azures(made: Installation) -> list[dict[str, Any]]:
    return made.every("Microsoft.Authorization/roleAssignments")


def grant(made: Installation, assignment: dict[str, Any]) -> Grant:
    """Return an assignment as a Grant. The identity's principal id is a run-time reference in the template."""
    identity = made.asset("managed_identity")
    job = f"[reference('{identity['id']}', '{identity['apiVersion']}').principalId]"
    principals = {job: "job", DEPLOYER: "deployer"}
    scope, _, _ = assignment["id"].partition("/providers/Microsoft.Authorization/")
    assets = {resource_id: name for name, resource_id in made.outputs["resources"].items()}
    properties = assignment["properties"]
    role = properties["roleDefinitionId"].rpartition("/")[2]
    return Grant(principals[properties["principalId"]], ROLES[role], assets[scope])


def grants(made: Installation) -> list[Grant]:
    return [grant(made, assignment) for assignment in azures(made)]


@pytest.fixture(params=["keyless", "guide"])
def either(request: pytest.FixtureRequest) -> Installation:
    return installation(accessMode=request.param)


@pytest.mark.guide("role-contributor", "role-storage", "role-acrpull")
def test_without_keys_the_job_has_the_least_roles_that_work():
    assert {grant for grant in grants(installation(accessMode="keyless")) if grant.to == "job"} == {
        Grant("job", "Storage Blob Data Contributor", "storage_account"),
        Grant("job", "AcrPull", "container_registry"),
        Grant("job", "AzureML Data Scientist", "ml_workspace"),
    }


@pytest.mark.guide("role-contributor", "role-storage", "role-acrpull")
def test_in_the_guides_mode_the_job_has_the_guides_three_role_assignments():
    made = installation(accessMode="guide")

    assert {grant(made, assignment) for assignment in azures(made)} - {
        Grant("deployer", "Storage Blob Data Contributor", "storage_account")
    } == {
        Grant("job", "Contributor", "resource_group"),
        Grant("job", "Storage Blob Data Reader", "storage_account"),
        Grant("job", "AcrPull", "container_registry"),
    }


def test_in_both_modes_whoever_deploys_has_the_data_roles_and_no_more(either: Installation):
    assert {grant for grant in grants(either) if grant.to == "deployer"} == {
        Grant("deployer", "Storage Blob Data Contributor", "storage_account"),
    }


def test_nothing_is_granted_twice_or_to_anyone_else(either: Installation):
    # `grant` knows the job's identity and the deployer only: what the workspace's own identity needs, Azure grants.
    found = grants(either)

    assert len(found) == len(set(found)) == 4
    assert len({assignment["name"] for assignment in azures(either)}) == 4


def test_every_assignment_is_in_the_outputs_by_its_full_id(either: Installation):
    made = [assignment["id"] for assignment in azures(either)]

    assert sorted(either.outputs["roleAssignments"]) == sorted(made)


@pytest.mark.parametrize("mode", ["keyless", "guide"])
def test_the_name_of_a_person_s_assignment_is_known_without_a_deployment(mode: str):
    made = installation(accessMode=mode)

    for grant_, role_id in zip(bicep_template.grants(mode), made.outputs["roleAssignments"], strict=True):
        if grant_.to == "deployer":
            resource_id = made.outputs["resources"][grant_.on]
            name = bicep_template.role_assignment_name(resource_id, DEPLOYER, grant_)
            assert role_id.rpartition("/")[2] == name


@pytest.mark.parametrize("mode", ["keyless", "guide"])
def test_the_outputs_follow_the_order_of_the_templates_own_table(mode: str):
    # The graph reads that table for the names of its checks.
    made, variables = installation(accessMode=mode), json.loads(TEMPLATE.read_text())["variables"]
    by_id = {assignment["id"]: grant(made, assignment) for assignment in azures(made)}

    table = [Grant(**row) for row in variables["jobRoles"][mode] + variables["rolesInBothModes"]]

    assert [by_id[assignment] for assignment in made.outputs["roleAssignments"]] == table


def test_azures_roles_are_named_by_the_subscriptions_own_definitions(either: Installation):
    for assignment in azures(either):
        definition = assignment["properties"]["roleDefinitionId"]
        assert definition.startswith(
            f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
        )


@pytest.mark.parametrize("principal_type", ["User", "ServicePrincipal", "Group"])
def test_what_a_principal_is_is_always_said(principal_type: str):
    made = installation(principalType=principal_type)

    said = {grant(made, assignment).to: assignment["properties"]["principalType"] for assignment in azures(made)}

    assert said == {"job": "ServicePrincipal", "deployer": principal_type}


def test_the_same_grant_keeps_its_name_and_another_principals_has_another():
    other = "33333333-3333-3333-3333-333333333333"
    here, again, theirs = installation(), installation(accessMode="keyless"), installation(principalId=other)

    assert here.outputs["roleAssignments"] == again.outputs["roleAssignments"]
    shared = set(here.outputs["roleAssignments"]) & set(theirs.outputs["roleAssignments"])
    assert len(shared) == 3, "the job's stay, the deployer's is the other's own"
