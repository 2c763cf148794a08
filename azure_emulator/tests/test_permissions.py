"""Permissions: roles of Azure and of Cosmos DB are separate, and reads need roles where Azure requires them."""

import uuid

import pytest

from azure_emulator.identity.identities import USER
from azure_emulator.resource_manager.builtin_roles import COSMOS_ROLES, role_id
from azure_emulator.testing.in_process import HERE, InProcessEmulator, refusal

pytestmark = pytest.mark.azure
NOBODY = "55555555-5555-5555-5555-555555555555"
COSMOS = next(iter(COSMOS_ROLES))
DEFINITIONS = f"{HERE}/providers/Microsoft.Authorization/roleDefinitions"
ML = "providers/Microsoft.MachineLearningServices/workspaces"


def test_a_role_of_cosmos_is_none_of_azures(in_process: InProcessEmulator) -> None:
    asked = {"roleDefinitionId": f"{DEFINITIONS}/{COSMOS}", "principalId": USER, "principalType": "User"}
    address = f"{in_process.group('rg-roles')}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    refused = in_process.ask("PUT", address, {"properties": asked}, "2022-04-01")
    assert refusal(refused)[:2] == (404, "RoleDefinitionDoesNotExist")
    assert refusal(in_process.ask("GET", f"{DEFINITIONS}/{COSMOS}"))[0] == 404


def test_a_role_of_azure_is_none_of_cosmoss(in_process: InProcessEmulator) -> None:
    group = in_process.group("rg-roles")
    account = in_process.plant(f"{group}/providers/Microsoft.DocumentDB/databaseAccounts/cosmos-a", location="eastus2")
    address = f"{account}/sqlRoleAssignments/{uuid.uuid4()}"

    def assign(role: str) -> int:
        definition = f"{account}/sqlRoleDefinitions/{role}"
        asked = {"roleDefinitionId": definition, "principalId": USER, "scope": account}
        return in_process.ask("PUT", address, {"properties": asked}, "2025-10-15").status

    assert assign(role_id("Owner")) == 400
    assert assign(COSMOS) == 201


@pytest.mark.parametrize("path", [f"{HERE}/locations", f"{DEFINITIONS}/{role_id('Owner')}"])
def test_a_read_of_the_subscription_needs_a_role(in_process: InProcessEmulator, path: str) -> None:
    assert refusal(in_process.ask("GET", path, oid=NOBODY))[:2] == (403, "AuthorizationFailed")
    assert in_process.ask("GET", path).status == 200


@pytest.mark.parametrize("kind", ["data", "models", "codes"])
def test_an_upload_asks_for_the_action_of_its_own_type(in_process: InProcessEmulator, kind: str) -> None:
    version = f"{in_process.group('rg-roles')}/{ML}/mlw-roles/{kind}/phi/versions/1"
    refused = refusal(in_process.ask("POST", f"{version}/startPendingUpload", oid=NOBODY))
    assert f"workspaces/{kind}/versions/startPendingUpload/action" in refused[2]
