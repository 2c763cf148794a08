"""Tokens, roles, providers, vaults, quota and faults, through Azure's own clients over HTTPS."""

import time
import uuid

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.rest import HttpRequest
from azure.identity import AzureCliCredential, CredentialUnavailableError
from azure.mgmt.quota import QuotaMgmtClient

from azure_emulator.identity.identities import SUBSCRIPTION, USER
from azure_emulator.identity.tokens import Tokens
from azure_emulator.process import LocalAzure
from azure_emulator.resource_manager.builtin_roles import role_id
from azure_emulator.testing import clients

pytestmark = pytest.mark.azure
ARM = "https://management.azure.com"
HERE = f"/subscriptions/{SUBSCRIPTION}"
PLACE = f"{HERE}/providers/Microsoft.MachineLearningServices/locations/eastus2"
A100 = "standardNCADSA100v4Family"


@pytest.fixture(scope="module", autouse=True)
def registered(azure: LocalAzure) -> None:
    clients.register()


def ask(azure: LocalAzure, token: str | None, path: str, verb: str = "GET", body: object = None) -> httpx.Response:
    with httpx.Client() as client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return client.request(verb, path if path.startswith("https") else ARM + path, headers=headers, json=body)


def token(audience: str = ARM, seconds: float = 3600, oid: str = USER, *, azure: LocalAzure) -> str:
    return Tokens(azure.state).issue(oid, audience, seconds=seconds)


def group(azure: LocalAzure, name: str) -> str:
    id = f"{HERE}/resourceGroups/{name}"
    answer = ask(azure, token(azure=azure), f"{id}?api-version=2025-04-01", "PUT", {"location": "eastus2"})
    assert answer.status_code in (200, 201), answer.text
    return id


def test_a_call_without_a_token_is_challenged(azure: LocalAzure) -> None:
    answer = ask(azure, None, f"{HERE}?api-version=2022-12-01")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")


@pytest.mark.parametrize(
    ("audience", "seconds", "code"),
    [
        ("https://storage.azure.com", 3600, "InvalidAuthenticationTokenAudience"),
        (ARM, -60, "ExpiredAuthenticationToken"),
    ],
)
def test_a_token_for_another_service_or_an_old_one_is_refused(
    azure: LocalAzure, audience: str, seconds: float, code: str
) -> None:
    answer = ask(azure, token(audience, seconds, azure=azure), f"{HERE}?api-version=2022-12-01")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == code


def test_another_subscription_is_not_found(azure: LocalAzure) -> None:
    other = f"/subscriptions/{uuid.uuid4()}?api-version=2022-12-01"
    answer = ask(azure, token(azure=azure), other)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "SubscriptionNotFound"


def test_az_says_who_is_signed_in_and_whether_the_login_is_too_old(azure: LocalAzure) -> None:
    assert AzureCliCredential().get_token(f"{ARM}/.default").token
    try:
        azure.control.sign_in("signed_out")
        with pytest.raises(CredentialUnavailableError, match="az login"):
            AzureCliCredential().get_token(f"{ARM}/.default")
        azure.control.sign_in("expired")
        with pytest.raises(ClientAuthenticationError, match="AADSTS70043"):
            AzureCliCredential().get_token(f"{ARM}/.default")
    finally:
        azure.control.sign_in()


def test_a_new_identity_needs_its_principal_type(azure: LocalAzure) -> None:
    scope = group(azure, "rg-principals")
    owner = token(azure=azure)
    identity = f"{scope}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-new"
    made = ask(azure, owner, f"{identity}?api-version=2023-01-31", "PUT", {"location": "eastus2"}).json()
    asked = {
        "principalId": made["properties"]["principalId"],
        "roleDefinitionId": f"{HERE}/providers/Microsoft.Authorization/roleDefinitions/{role_id('Reader')}",
    }

    def assign(name: str, **more: str) -> httpx.Response:
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}?api-version=2022-04-01"
        return ask(azure, owner, path, "PUT", {"properties": {**asked, **more}})

    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    azure.control.scale(5)
    assert assign(first).json()["error"]["code"] == "PrincipalNotFound"
    azure.control.scale(0.2)
    assert assign(first, principalType="User").json()["error"]["code"] == "UnmatchedPrincipalType"
    assert assign(first, principalType="ServicePrincipal").status_code == 201
    assert assign(first, principalType="ServicePrincipal").status_code == 200
    assert assign(second, principalType="ServicePrincipal").json()["error"]["code"] == "RoleAssignmentExists"


def test_a_role_counts_after_its_delay(azure: LocalAzure) -> None:
    person = azure.control.new_service_principal("late")
    azure.control.give_role(person["oid"], "Reader", delay=0.6)
    theirs = token(oid=person["oid"], azure=azure)
    path = f"{HERE}?api-version=2022-12-01"
    assert ask(azure, theirs, path).json()["error"]["code"] == "AuthorizationFailed"
    time.sleep(0.7)
    assert ask(azure, theirs, path).status_code == 200


def test_a_key_vault_opens_for_a_data_role_only(azure: LocalAzure) -> None:
    scope, owner = group(azure, "rg-vault"), token(azure=azure)
    vault = f"{scope}/providers/Microsoft.KeyVault/vaults/kv-services"
    properties = {"tenantId": str(uuid.uuid4()), "sku": {"family": "A", "name": "standard"}}
    address = f"{vault}?api-version=2025-05-01"
    refused = ask(
        azure,
        owner,
        address,
        "PUT",
        {"location": "eastus2", "properties": {**properties, "enablePurgeProtection": False}},
    )
    assert refused.json()["error"]["message"].startswith('The property "enablePurgeProtection" cannot be set to false')
    assert ask(azure, owner, address, "PUT", {"location": "eastus2", "properties": properties}).status_code == 201
    secret = "https://kv-services.vault.azure.net/secrets/a?api-version=7.4"
    mine = token("https://vault.azure.net", azure=azure)
    assert ask(azure, None, secret).headers["WWW-Authenticate"].startswith("Bearer authorization=")
    assert ask(azure, mine, secret).status_code == 403
    azure.control.give_role(USER, "Key Vault Secrets Officer", vault)
    assert ask(azure, mine, secret).status_code == 404
    assert ask(azure, mine, secret, "PUT", {"value": "x"}).status_code == 200
    assert ask(azure, mine, secret).json()["value"] == "x"


def quota_client() -> QuotaMgmtClient:
    return QuotaMgmtClient(AzureCliCredential(), SUBSCRIPTION, polling_interval=0.2)


def file_request(vcpus: int) -> object:
    asked = {
        "properties": {
            "limit": {"limitObjectType": "LimitValue", "value": vcpus},
            "name": {"value": A100},
            "resourceType": "dedicated",
        }
    }
    return quota_client().quota.begin_create_or_update(A100, PLACE.strip("/"), asked).result()  # type: ignore[arg-type]


def test_a_quota_request_is_granted(azure: LocalAzure) -> None:
    azure.control.set_quota(A100, 0)
    file_request(48)
    assert quota_client().quota.get(A100, PLACE.strip("/")).properties.limit.value == 48  # type: ignore[union-attr]
    usages = ask(azure, token(azure=azure), f"{PLACE}/usages?api-version=2024-10-01").json()["value"]
    title = "Standard NCADSA100v4 Family Cluster Dedicated vCPUs"
    family = next(u for u in usages if u["name"]["localizedValue"] == title)
    assert (family["currentValue"], family["limit"]) == (0, 48)


def test_a_quota_request_is_refused(azure: LocalAzure) -> None:
    azure.control.set_quota(A100, 0)
    azure.control.quota_verdict("refuse")
    try:
        with pytest.raises(HttpResponseError, match="not approved"):
            file_request(24)
        states = [r.properties.provisioning_state for r in quota_client().quota_request_status.list(PLACE.strip("/"))]
        assert "Failed" in states
    finally:
        azure.control.clear_faults()
        azure.control.set_quota(A100, 100)


@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("503", 503), ("expired", 401)])
def test_a_fault_on_demand_is_answered_once(azure: LocalAzure, kind: str, status: int) -> None:
    azure.control.fail_next("GET /subscriptions/", kind)  # type: ignore[arg-type]
    path, mine = f"{HERE}?api-version=2022-12-01", token(azure=azure)
    first = ask(azure, mine, path)
    assert first.status_code == status
    if status != 401:
        assert first.headers["Retry-After"] == "1"
    assert ask(azure, mine, path).status_code == 200


def test_a_timed_out_call_does_nothing_and_a_dropped_one_is_done(azure: LocalAzure) -> None:
    mine = token(azure=azure)
    for kind, there in (("timeout", False), ("dropped", True)):
        id = f"{HERE}/resourceGroups/rg-{kind}"
        azure.control.fail_next(f"PUT rg-{kind}", kind)  # type: ignore[arg-type]
        with pytest.raises(httpx.TransportError):
            ask(azure, mine, f"{id}?api-version=2025-04-01", "PUT", {"location": "eastus2"})
        assert (azure.control.resource(id) is not None) is there
        asked = azure.control.requests(match=f"rg-{kind}")
        assert [(r["fault"], r["identity"]) for r in asked] == [(kind, USER)]


def test_the_sdk_gets_through_a_third_of_failing_calls(azure: LocalAzure) -> None:
    azure.control.forget_requests()
    azure.control.fail_randomly(0.3, seed=7, kinds=("429", "503"))
    try:
        client = clients.resources(retry_total=10, retry_backoff_factor=0.01)
        for number in range(6):
            client.resource_groups.create_or_update(f"rg-many-{number}", {"location": "eastus2"})
    finally:
        azure.control.clear_faults()
    asked = azure.control.requests(service="arm", verb="PUT", match="rg-many", writes_only=True)
    assert len({r["path"] for r in asked}) == 6
    assert {r["status"] for r in asked} > {201}
    assert {r["identity"] for r in asked} == {USER}


def test_requests_are_counted_by_service_verb_and_identity(azure: LocalAzure) -> None:
    azure.control.forget_requests()
    person = azure.control.new_service_principal("reader")
    azure.control.give_role(person["oid"], "Reader")
    ask(azure, token(oid=person["oid"], azure=azure), f"{HERE}?api-version=2022-12-01")
    group(azure, "rg-counted")
    assert len(azure.control.requests(identity=person["oid"])) == 1
    assert [r["verb"] for r in azure.control.requests(service="arm", writes_only=True)] == ["PUT"]


def test_a_group_is_deleted_with_all_in_it(azure: LocalAzure) -> None:
    id = group(azure, "rg-gone")
    clients.resources(polling_interval=0.1).resource_groups.begin_delete("rg-gone").result()
    assert azure.control.resource(id) is None


def test_a_wrong_api_version_is_refused(azure: LocalAzure) -> None:
    client = clients.resources(**clients.no_retries())
    answer = client._client.send_request(HttpRequest("GET", f"{ARM}{HERE}"))
    assert answer.status_code == 400
    assert "MissingApiVersionParameter" in answer.text()
