"""Soft deletion, and the checks of names and permissions before a deployment."""

import httpx
import pytest

from azure_emulator.control import Control
from azure_emulator.identity import identities
from azure_emulator.identity.tokens import Tokens
from tests.support.azure_place import local_azure_at

pytestmark = [pytest.mark.azure]
SUBSCRIPTION = f"/subscriptions/{identities.SUBSCRIPTION}"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg-soft"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv-soft"
DELETED = f"{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/eastus2/deletedVaults/kv-soft"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/mlw-soft"
LOGS = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/log-soft"


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    with local_azure_at(tmp_path_factory.mktemp("azure")) as found:
        for namespace in ("Microsoft.KeyVault", "Microsoft.MachineLearningServices", "Microsoft.Storage"):
            found.set_provider(namespace, "Registered")
        yield found


@pytest.fixture
def call(control: Control):
    """Send an ARM request as the Owner."""
    token = Tokens(control.state).issue(identities.USER, "https://management.azure.com")
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, base_url="https://management.azure.com") as client:

        def made(verb: str, address: str, query: str = "", **body) -> httpx.Response:
            version = "2025-04-01" if address == GROUP else "2025-05-01"
            return client.request(verb, f"{address}?api-version={version}{query}", json=body or None)

        made("PUT", GROUP, location="eastus2")
        yield made


def put_vault(call, **properties) -> httpx.Response:
    base = {"tenantId": identities.TENANT, "sku": {"family": "A", "name": "standard"}}
    return call("PUT", VAULT, location="eastus2", properties={**base, **properties})


def until_live_again(call, address: str, status: int) -> None:
    while call("GET", address).status_code != status:
        pass


def test_a_deleted_vault_keeps_its_name_until_it_is_purged(control, call):
    put_vault(call)
    call("DELETE", VAULT)

    assert call("GET", DELETED).json()["properties"]["vaultId"].lower() == VAULT.lower()
    assert put_vault(call).json()["error"]["code"] == "ConflictError"

    assert call("POST", f"{DELETED}/purge").status_code == 202
    until_live_again(call, DELETED, 404)
    assert put_vault(call).status_code == 201
    call("DELETE", VAULT)
    call("POST", f"{DELETED}/purge")


def test_a_protected_vault_cannot_be_purged_and_is_recovered_as_it_was(control, call):
    put_vault(call, enablePurgeProtection=True)
    call("DELETE", GROUP)
    until_live_again(call, DELETED, 200)

    assert call("POST", f"{DELETED}/purge").status_code == 405
    call("PUT", GROUP, location="eastus2")
    assert put_vault(call, createMode="recover").status_code == 201
    assert call("GET", VAULT).json()["properties"]["enablePurgeProtection"] is True
    assert control.soft_deleted() == []


@pytest.mark.parametrize(("id", "query"), [(WORKSPACE, "&forceToPurge=true"), (LOGS, "&force=true")])
def test_a_deleted_workspace_is_kept_unless_it_is_deleted_for_good(control, call, id, query):
    control.plant(id, {"location": "eastus2", "properties": {}})
    call("DELETE", id)
    until_live_again(call, id, 404)
    assert id.lower() in control.soft_deleted()

    call("DELETE", id, query)
    assert id.lower() not in control.soft_deleted()


def test_a_group_that_is_deleted_leaves_its_workspaces_kept(control, call):
    control.plant(WORKSPACE, {"location": "eastus2", "properties": {}})
    call("DELETE", GROUP)
    until_live_again(call, GROUP, 404)

    assert WORKSPACE.lower() in control.soft_deleted()
    call("DELETE", WORKSPACE, "&forceToPurge=true")


def test_a_name_is_free_taken_or_not_to_be_asked_for(control, call):
    address = f"{SUBSCRIPTION}/providers/Microsoft.Storage/checkNameAvailability"

    def free(name: str) -> bool:
        return call("POST", address, name=name, type="Microsoft.Storage/storageAccounts").json()["nameAvailable"]

    assert free("stsoft")
    control.take_name("stsoft")
    assert not free("stsoft")
    assert call("POST", address, name="x", type="Microsoft.Storage/other").status_code == 400
    control.set_provider("Microsoft.Storage", "NotRegistered")
    assert call("POST", address, name="x").json()["error"]["code"] == "MissingSubscriptionRegistration"


def test_a_disabled_subscription_reads_and_does_not_write(control, call):
    control.subscription_state("Disabled")
    try:
        assert call("GET", SUBSCRIPTION).json()["state"] == "Disabled"
        assert call("PUT", GROUP, location="eastus2").json()["error"]["code"] == "ReadOnlyDisabledSubscription"
    finally:
        control.subscription_state("Enabled")
