"""Workspace connections as azure-ai-ml and Prompt flow use them, and what Azure refuses."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import APIKeyConnection, WorkspaceConnection
from azure.ai.ml.entities._credentials import AadCredentialConfiguration
from azure.core.exceptions import HttpResponseError

from azure_emulator.bicep import compiler
from azure_emulator.identity.identities import USER
from azure_emulator.identity.tokens import Tokens
from azure_emulator.process import LocalAzure
from azure_emulator.testing import clients

pytestmark = [
    pytest.mark.azure,
    pytest.mark.integration,
    pytest.mark.skipif(compiler.compiler() is None, reason="a deployment of the template needs the Bicep compiler"),
]
SECRET = "a-secret-of-a-connection"
CUSTOM = {
    "category": "CustomKeys",
    "authType": "CustomKeys",
    "target": "https://model.example",
    "credentials": {"keys": {"key": SECRET}},
    "metadata": {
        "address": "https://model.example",
        "azureml.flow.connection_type": "Custom",
        "azureml.flow.module": "promptflow.connections",
    },
}


@dataclass
class Lab:
    """A workspace, and a request to ARM that no SDK would send."""

    azure: LocalAzure
    ml: MLClient
    workspace: str

    def ask(self, method: str, rest: str, properties: Any = None, oid: str = USER, **query: str) -> httpx.Response:
        token = Tokens(self.azure.state).issue(oid, "https://management.azure.com")
        return httpx.request(
            method,
            f"https://management.azure.com{self.workspace}/connections{rest}",
            params={"api-version": "2025-12-01", **query},
            json=None if properties is None else {"properties": properties},
            headers={"Authorization": f"Bearer {token}"},
        )

    def put(self, name: str, **changed: Any) -> httpx.Response:
        return self.ask("PUT", f"/{name}", {**CUSTOM, **changed})

    def secret(self, name: str) -> Any:
        return self.ask("POST", f"/{name}/listsecrets").json()["properties"]["credentials"]


@pytest.fixture(scope="module")
def lab(azure: LocalAzure) -> Lab:
    azure.control.scale(0)
    clients.register()
    outputs = clients.deploy()
    return Lab(azure, clients.ml(outputs), outputs["resources"]["ml_workspace"])


def test_a_secret_goes_in_and_is_shown_by_list_secrets_alone(lab: Lab) -> None:
    assert [lab.put("custom").status_code for _ in range(2)] == [200, 200]
    shown = [lab.ask("GET", "/custom"), lab.ask("GET", "")]
    assert [SECRET in answer.text for answer in shown] == [False, False]
    assert shown[0].json()["properties"]["credentials"] is None
    assert shown[0].json()["properties"]["metadata"] == CUSTOM["metadata"]
    assert lab.secret("custom") == {"keys": {"key": SECRET}}
    assert SECRET not in str(lab.azure.control.requests())


def test_a_new_secret_replaces_the_old_one_though_nothing_shown_changes(lab: Lab) -> None:
    lab.put("renewed")
    lab.put("renewed", credentials={"keys": {"key": "another"}})
    assert lab.secret("renewed") == {"keys": {"key": "another"}}
    lab.ask("PATCH", "/renewed", {"authType": "CustomKeys", "target": "https://other.example"})
    assert lab.secret("renewed") == {"keys": {"key": "another"}}
    assert lab.ask("GET", "/renewed").json()["properties"]["target"] == "https://other.example"


def test_the_sdk_keeps_and_reads_an_api_key(lab: Lab) -> None:
    made = APIKeyConnection(name="api-key", api_base="https://model.example", api_key=SECRET)
    lab.ml.connections.create_or_update(made)
    assert lab.ml.connections.get("api-key").credentials.key is None  # type: ignore[union-attr]
    found = lab.ml.connections.get("api-key", populate_secrets=True)
    assert (found.target, found.credentials.key) == ("https://model.example", SECRET)  # type: ignore[union-attr]
    lab.ml.connections.delete("api-key")
    with pytest.raises(HttpResponseError) as missing:
        lab.ml.connections.get("api-key")
    assert missing.value.status_code == 404


def test_the_sdk_lists_by_category_and_leaves_data_connections_out(lab: Lab) -> None:
    lab.put("listed")
    lab.put("blob", category="AzureBlob", authType="AAD", credentials=None)
    custom = {each.name for each in lab.ml.connections.list("custom_keys")}
    assert "listed" in custom
    assert "blob" not in {each.name for each in lab.ml.connections.list()}
    # The SDK's own include_data_connections sends includeAll=false in 1.35.
    assert "blob" in {each["name"] for each in lab.ask("GET", "", includeAll="true").json()["value"]}


def test_the_sdk_keeps_a_connection_by_identity_without_a_secret(lab: Lab) -> None:
    made = WorkspaceConnection(
        name="by-identity", type="custom", target="https://model.example", credentials=AadCredentialConfiguration()
    )
    lab.ml.connections.create_or_update(made)
    assert lab.ask("GET", "/by-identity").json()["properties"]["authType"] == "AAD"
    assert lab.secret("by-identity") is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"credentials": {"keyz": {"key": "x"}}}, "keys"),
        ({"credentials": {"keys": {}}}, "needs credentials"),
        ({"credentials": None}, "needs credentials"),
        ({"authType": "AAD"}, "credentials"),
        ({"targett": "https://model.example"}, "targett"),
        ({"target": None}, "target"),
        ({"category": "Telepathy"}, "category"),
        ({"metadata": {"nested": {"a": "b"}}}, "metadata"),
    ],
)
def test_a_body_that_azure_would_refuse_is_refused(lab: Lab, changed: dict[str, Any], named: str) -> None:
    answer = lab.put("wrong", **changed)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]
    assert lab.ask("GET", "/wrong").status_code == 404


def test_a_name_is_held_to_azures_rule(lab: Lab) -> None:
    assert lab.put("ab").status_code == 400
    assert lab.put("-abc").status_code == 400
    assert lab.put("phi_endpoint").status_code == 200


def test_a_reader_sees_the_connection_and_not_its_secret(lab: Lab) -> None:
    lab.put("guarded")
    reader = lab.azure.control.new_service_principal("reader")["oid"]
    role = lab.azure.control.give_role(reader, "Reader", lab.workspace)
    assert lab.ask("GET", "/guarded", oid=reader).status_code == 200
    refused = lab.ask("POST", "/guarded/listsecrets", oid=reader)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert lab.ask("PUT", "/guarded", CUSTOM, oid=reader).status_code == 403
    lab.azure.control.take_role(role)
    secrets = "Azure Machine Learning Workspace Connection Secrets Reader"
    lab.azure.control.give_role(reader, secrets, lab.workspace)
    assert lab.ask("POST", "/guarded/listsecrets", oid=reader).status_code == 200
