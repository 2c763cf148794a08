"""Deployments of infra/main.json with Azure's own client over HTTPS."""

import time

import pytest
from azure.core.exceptions import HttpResponseError

from azure_emulator.bicep import compiler
from azure_emulator.identity.identities import SUBSCRIPTION, USER
from azure_emulator.process import LocalAzure
from azure_emulator.testing import clients

pytestmark = [
    pytest.mark.azure,
    pytest.mark.skipif(
        compiler.compiler() is None, reason="other parameters than the committed ones need the compiler"
    ),
]


@pytest.fixture(scope="module")
def deployed(azure: LocalAzure) -> dict:
    clients.register()
    return clients.deploy()


def refusal(**parameters: object) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as caught:
        clients.deploy(**parameters)
    return caught.value


def test_an_unregistered_provider_is_named_and_nothing_is_made(azure: LocalAzure) -> None:
    azure.control.set_provider("Microsoft.Storage", "NotRegistered")
    error = refusal(environmentName="phi-unregistered")
    assert error.status_code == 409
    assert "MissingSubscriptionRegistration" in str(error)
    assert azure.control.resource(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-phi-unregistered") is None


def test_the_template_makes_every_resource(azure: LocalAzure, deployed: dict) -> None:
    for id in (*deployed["resources"].values(), *deployed["roleAssignments"]):
        live = azure.control.resource(id)
        assert live is not None, id
        assert live["properties"].get("provisioningState", "Succeeded") == "Succeeded"


def test_a_reference_is_replaced_by_what_is_live(azure: LocalAzure, deployed: dict) -> None:
    identity = azure.control.resource(deployed["resources"]["managed_identity"])
    assert identity
    given = {role["role"] for role in azure.control.roles(identity["properties"]["principalId"])}
    assert "Storage Blob Data Contributor" in given


def test_a_second_deployment_changes_nothing(azure: LocalAzure, deployed: dict) -> None:
    before = {r["id"]: r for r in azure.control.resources() if "/deployments/" not in r["id"]}
    assert clients.deploy() == deployed
    assert {r["id"]: r for r in azure.control.resources() if "/deployments/" not in r["id"]} == before


def test_what_if_has_azures_noise_although_nothing_would_change(azure: LocalAzure, deployed: dict) -> None:
    client = clients.deployments().deployments
    found = client.begin_what_if_at_subscription_scope(clients.DEPLOYMENT, clients.body()).result()
    kinds = {str(change.change_type.value) for change in found.changes}
    assert kinds == {"NoChange", "Modify"}


def test_operations_name_each_resource(azure: LocalAzure, deployed: dict) -> None:
    rows = list(clients.deployments().deployment_operations.list_at_subscription_scope(clients.DEPLOYMENT))
    assert {row.properties.provisioning_state for row in rows} == {"Succeeded"}
    assert {row.properties.target_resource.id for row in rows} >= set(deployed["resources"].values())


def test_deploying_mends_drift(azure: LocalAzure, deployed: dict) -> None:
    account = deployed["resources"]["storage_account"]
    azure.control.change(account, allowSharedKeyAccess=True)
    azure.control.delete(deployed["roleAssignments"][0])
    clients.deploy()
    assert azure.control.resource(account)["properties"]["allowSharedKeyAccess"] is False  # type: ignore[index]
    assert azure.control.resource(deployed["roleAssignments"][0]) is not None


def test_a_lost_answer_leaves_a_deployment_that_goes_on(azure: LocalAzure, deployed: dict) -> None:
    azure.control.forget_requests()
    azure.control.fail_next("PUT deployments", "dropped")
    client = clients.deployments(**clients.no_retries())
    with pytest.raises(Exception, match=r"(?i)connection|remote end|reset"):
        client.deployments.begin_create_or_update_at_subscription_scope("phi-lost", clients.body())
    while client.deployments.get_at_subscription_scope("phi-lost").properties.provisioning_state != "Succeeded":
        time.sleep(0.1)
    assert [r["fault"] for r in azure.control.requests(verb="PUT", match="phi-lost")] == ["dropped"]


def test_a_contributor_may_not_assign_roles_and_is_told_so_before_anything_is_made(azure: LocalAzure) -> None:
    owner = next(role["id"] for role in azure.control.roles(USER) if role["role"] == "Owner")
    azure.control.take_role(owner)
    contributor = azure.control.give_role(role="Contributor")
    try:
        error = refusal(environmentName="phi-contributor")
        assert error.status_code == 403
        assert "InvalidTemplateDeployment" in str(error)
        assert "Microsoft.Authorization/roleAssignments/write" in str(error)
        assert azure.control.resource(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-phi-contributor") is None
    finally:
        azure.control.give_role()
        azure.control.take_role(contributor)


def test_without_any_role_the_refusal_names_action_and_scope(azure: LocalAzure) -> None:
    owner = next(role["id"] for role in azure.control.roles(USER) if role["role"] == "Owner")
    azure.control.take_role(owner)
    try:
        error = refusal(environmentName="phi-nobody")
        assert error.status_code == 403
        assert "Microsoft.Resources/deployments/write" in str(error)
        assert f"/subscriptions/{SUBSCRIPTION}" in str(error)
    finally:
        azure.control.give_role()


@pytest.mark.parametrize("location", ["japanwest", "atlantis"])
def test_a_region_without_azure_ml_is_refused(azure: LocalAzure, deployed: dict, location: str) -> None:
    error = refusal(environmentName="phi-elsewhere", location=location)
    assert "LocationNotAvailableFor" in str(error)


def test_a_vault_in_deleted_state_keeps_its_name(azure: LocalAzure, deployed: dict) -> None:
    name = azure.control.resource(deployed["resources"]["key_vault"])["name"]  # type: ignore[index]
    azure.control.delete(deployed["resources"]["key_vault"])
    error = refusal()
    assert "ConflictError" in str(error)
    assert "deleted state" in str(error)
    client = clients.resources()
    purge = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/eastus2/deletedVaults/{name}/purge"
    assert client.resources  # the purge is Key Vault's own; any ARM client may send it
    from azure.core.rest import HttpRequest

    client._client.send_request(
        HttpRequest("POST", f"https://management.azure.com{purge}?api-version=2025-05-01")
    ).raise_for_status()
    while deployed["resources"]["key_vault"] in azure.control.soft_deleted():
        time.sleep(0.05)
    clients.deploy()


def test_a_storage_account_name_of_someone_else_is_refused(azure: LocalAzure, deployed: dict) -> None:
    name = deployed["AZURE_STORAGE_ACCOUNT"]
    azure.control.delete(deployed["resources"]["resource_group"])
    azure.control.take_name(name)
    assert "StorageAccountAlreadyTaken" in str(refusal())
