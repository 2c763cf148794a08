"""Online endpoints and deployments as azure-ai-ml uses them, and what Azure refuses."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.ai.ml.entities import OnlineRequestSettings, ProbeSettings
from azure.core.exceptions import HttpResponseError

from azure_emulator.bicep import compiler
from azure_emulator.identity.identities import LOCATION, USER
from azure_emulator.identity.tokens import Tokens
from azure_emulator.process import LocalAzure
from azure_emulator.testing.served_workspace import DOCKERFILE, Serving, context, register_image, serving, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.azure,
    pytest.mark.integration,
    pytest.mark.skipif(compiler.compiler() is None, reason="a deployment of the template needs the Bicep compiler"),
]
NAME = "phi-endpoint"
PROBE = ProbeSettings(initial_delay=1, period=1, failure_threshold=2, timeout=2)


@pytest.fixture(scope="module")
def lab(azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    azure.control.scale(0.05)
    made = serving(azure, tmp_path_factory.mktemp("serving"))
    made.make(NAME)
    made.deploy("blue", NAME)
    return made


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HttpResponseError) as caught:
        call()
    return str(caught.value)


def arm(lab: Serving, method: str, id: str, body: dict[str, Any] | None = None, **query: str) -> httpx.Response:
    """A request to ARM that no SDK would send."""
    token = Tokens(lab.azure.state).issue(USER, "https://management.azure.com")
    asked = {"api-version": "2023-04-01-preview", **query}
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.request(method, f"https://management.azure.com{id}", params=asked, json=body, headers=headers)


def test_an_endpoint_shows_what_the_sdk_reads_and_never_its_keys(lab: Serving) -> None:
    found = lab.ml.online_endpoints.get(NAME)
    assert (found.provisioning_state, found.auth_mode, found.public_network_access) == ("Succeeded", "key", "Enabled")  # type: ignore[union-attr]
    assert found.scoring_uri == f"https://{NAME}.{LOCATION}.inference.ml.azure.com/"
    assert found.traffic == {"blue": 0}
    assert [e.name for e in lab.ml.online_endpoints.list()] == [NAME]
    shown = arm(lab, "GET", lab.id_of(NAME)).text
    assert lab.key(NAME) not in shown
    assert '"keys": null' in shown


def test_a_deployment_shows_what_was_asked_with_azures_defaults(lab: Serving) -> None:
    found = lab.ml.online_deployments.get("blue", NAME)
    assert (found.provisioning_state, found.instance_count, found.endpoint_name) == ("Succeeded", 1, NAME)
    assert found.request_settings
    assert found.request_settings.request_timeout_ms == 2000
    assert lab.azure.control.endpoint_history(lab.id_of(NAME, "blue")) == ["Creating", "Succeeded"]
    assert [d.name for d in lab.ml.online_deployments.list(NAME)] == ["blue"]
    said = lab.ml.online_deployments.get_logs("blue", NAME, 20)
    assert said.endswith("serving")


def test_keys_may_be_given_at_creation_and_made_anew(lab: Serving) -> None:
    body = {
        "location": LOCATION,
        "properties": {"authMode": "Key", "keys": {"primaryKey": "planted-one", "secondaryKey": "planted-two"}},
    }
    assert arm(lab, "PUT", lab.id_of("phi-planted"), body).status_code == 201
    until(lambda: arm(lab, "GET", lab.id_of("phi-planted")).json()["properties"]["provisioningState"] == "Succeeded")
    keys = lab.ml.online_endpoints.get_keys("phi-planted")
    assert (keys.primary_key, keys.secondary_key) == ("planted-one", "planted-two")  # type: ignore[union-attr]
    # azure-ai-ml sends the present key as the new one, so only a request of our own makes another.
    asked = {"keyType": "Secondary"}
    assert arm(lab, "POST", f"{lab.id_of('phi-planted')}/regenerateKeys", asked).status_code == 202
    keys = lab.ml.online_endpoints.get_keys("phi-planted")
    assert keys.primary_key == "planted-one"  # type: ignore[union-attr]
    assert keys.secondary_key != "planted-two"  # type: ignore[union-attr]
    assert "planted" not in str(lab.azure.control.resource(lab.id_of("phi-planted"))).replace("phi-planted", "")


def test_each_auth_mode_has_its_own_way_in(lab: Serving) -> None:
    assert arm(lab, "POST", f"{lab.id_of(NAME)}/token").status_code == 400
    lab.make("phi-entra", auth_mode="aad_token")
    assert arm(lab, "POST", f"{lab.id_of('phi-entra')}/listKeys").status_code == 400
    assert arm(lab, "POST", f"{lab.id_of('phi-entra')}/token").json()["accessToken"]


@pytest.mark.parametrize("name", ["ab", "Phi", "1phi", "phi_one", "a" * 33])
def test_a_wrong_name_is_refused(lab: Serving, name: str) -> None:
    body = {"location": LOCATION, "properties": {"authMode": "Key"}}
    assert arm(lab, "PUT", lab.id_of(name), body).status_code == 400


def test_a_name_that_another_has_in_the_region_is_refused(lab: Serving) -> None:
    lab.azure.control.take_name("phi-taken")
    assert "needs to be unique" in refusal(lambda: lab.make("phi-taken"))


def test_another_region_than_the_workspaces_is_refused(lab: Serving) -> None:
    body = {"location": "westus3", "properties": {"authMode": "Key"}}
    assert "not the workspace's" in arm(lab, "PUT", lab.id_of("phi-far"), body).text


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("phi-odd", {"properties": {"authMode": "Key", "trafic": {}}}),
        ("phi-odd", {"properties": {"authMode": "Keys"}}),
        (f"{NAME}/deployments/odd", {"properties": {"endpointComputeType": "Managed", "instanceTyp": "x"}}),
        (f"{NAME}/deployments/odd", {"properties": {"endpointComputeType": "Managed", "readinessProbe": {"delay": 1}}}),
    ],
)
def test_a_misspelt_key_is_refused(lab: Serving, place: str, body: dict[str, Any]) -> None:
    refused = arm(lab, "PUT", lab.id_of(place), {"location": LOCATION, **body})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidRequestContent")


@pytest.mark.parametrize("namespace", ["Microsoft.PolicyInsights", "Microsoft.Cdn"])
def test_an_endpoint_fails_without_the_providers_that_it_needs(lab: Serving, namespace: str) -> None:
    lab.azure.control.set_provider(namespace, "NotRegistered")
    try:
        said = refusal(lambda: lab.make("phi-unregistered"))
    finally:
        lab.azure.control.set_provider(namespace, "Registered")
    assert "SubscriptionNotRegistered" in said
    assert namespace in said
    assert lab.ml.online_endpoints.get("phi-unregistered").provisioning_state == "Failed"


@pytest.mark.parametrize(
    ("traffic", "reason"),
    [
        ({"blue": 50}, "must sum to 0 or 100"),
        ({"blue": 101}, "between 0 and 100"),
        ({"blue": 50, "green": 50}, "does not exist"),
    ],
)
def test_wrong_traffic_is_refused(lab: Serving, traffic: dict[str, int], reason: str) -> None:
    assert reason in refusal(lambda: lab.shift(NAME, **traffic))


def test_no_traffic_moves_by_itself_and_a_put_without_traffic_takes_it_away(lab: Serving) -> None:
    assert lab.azure.control.traffic_history(NAME) == [{}]
    lab.shift(NAME, blue=100)
    assert arm(lab, "PATCH", lab.id_of(NAME), {"tags": {"team": "ml"}}).status_code == 200
    until(lambda: lab.ml.online_endpoints.get(NAME).provisioning_state == "Succeeded")
    assert lab.ml.online_endpoints.get(NAME).traffic == {"blue": 100}
    lab.make(NAME)
    assert lab.azure.control.traffic_history(NAME) == [{}, {"blue": 100}, {}]


def test_a_deployment_with_traffic_is_not_deleted(lab: Serving) -> None:
    lab.shift(NAME, blue=100)
    assert "Set its traffic to 0 first" in refusal(lambda: lab.ml.online_deployments.begin_delete("blue", NAME))
    lab.shift(NAME, blue=0)


def test_writes_that_overlap_on_one_endpoint_are_refused(lab: Serving) -> None:
    lab.azure.control.scale(1)
    try:
        waiting = lab.ml.online_deployments.begin_create_or_update(lab.deployment("green", NAME))
        for call in (
            lambda: lab.ml.online_deployments.begin_create_or_update(lab.deployment("green", NAME)),
            lambda: lab.ml.online_deployments.begin_create_or_update(lab.deployment("red", NAME)),
            lambda: lab.ml.online_deployments.begin_delete("blue", NAME),
            lambda: lab.ml.online_endpoints.begin_create_or_update(lab.endpoint(NAME)),
            lambda: lab.ml.online_endpoints.begin_delete(NAME),
        ):
            assert "already an operation in progress" in refusal(call)
        lab.azure.control.scale(0.05)
        waiting.result()
    finally:
        lab.azure.control.scale(0.05)
    lab.ml.online_deployments.begin_delete("green", NAME).result()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"model": "azureml:phi-chat:9"}, r"(?i)not found"),
        ({"environment": "azureml:phi-serving:9"}, r"(?i)not found"),
        ({"instance_type": "Standard_NC1_v9"}, "not available"),
        ({"request_settings": OnlineRequestSettings(request_timeout_ms=181_000)}, "at most PT3M"),
        ({"request_settings": OnlineRequestSettings(max_concurrent_requests_per_instance=0)}, "at least 1"),
        ({"instance_count": 0}, "1 to 50 instances"),
        ({"environment": "azureml:phi-bare:1"}, "no inferenceConfig"),
    ],
)
def test_a_deployment_of_what_is_not_there_or_beyond_the_limits_is_refused(
    lab: Serving, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    if "bare" in str(changed):
        register_image(lab, "phi-bare", context(tmp_path / "bare"), inference_config=None)
    assert re.search(reason, refusal(lambda: lab.deploy("odd", NAME, **changed)))
    assert lab.azure.control.resource(lab.id_of(NAME, "odd")) is None


def test_the_quota_counts_a_fifth_more_but_for_a100(lab: Serving) -> None:
    # blue has 1 x 4 vCPUs, which count as ceil(1.2) x 4 = 8; another needs 8 more.
    lab.azure.control.set_quota("standardESv3Family", 15)
    try:
        said = refusal(lambda: lab.deploy("green", NAME))
    finally:
        lab.azure.control.set_quota("standardESv3Family", 100)
    assert "OutOfQuota" in said
    assert "8/15. Additional needed: 8" in said
    lab.azure.control.set_quota("standardNCADSA100v4Family", 24)
    try:
        lab.deploy("green", NAME, instance_type="Standard_NC24ads_A100_v4")
    finally:
        lab.azure.control.set_quota("standardNCADSA100v4Family", 100)
        lab.ml.online_deployments.begin_delete("green", NAME).result()


def test_instances_and_tags_change_without_a_new_container(lab: Serving) -> None:
    before = lab.azure.control.containers()
    assert arm(lab, "PATCH", lab.id_of(NAME, "blue"), {"sku": {"name": "Default", "capacity": 2}}).status_code == 200
    until(lambda: lab.ml.online_deployments.get("blue", NAME).provisioning_state == "Succeeded")
    assert lab.ml.online_deployments.get("blue", NAME).instance_count == 2
    assert lab.azure.control.containers() == before
    assert arm(lab, "PATCH", lab.id_of(NAME, "blue"), {"properties": {}}).status_code == 400


@pytest.mark.parametrize("role", ["AcrPull", "Storage Blob Data Contributor"])
def test_a_deployment_fails_when_the_endpoints_identity_lacks_a_role(lab: Serving, role: str) -> None:
    given = [r for r in lab.azure.control.roles(lab.identity["principalId"]) if r["role"] == role]
    assert given, f"the template gives no {role}"
    for one in given:
        lab.azure.control.take_role(one["id"])
    try:
        said = refusal(lambda: lab.deploy("odd", NAME))
    finally:
        for one in given:
            lab.azure.control.give_role(one["oid"], role, one["scope"])
    assert "BadArgument" in said
    assert role.replace("Contributor", "Reader") in said
    assert_failed(lab)


def test_a_container_that_ends_fails_the_deployment_and_its_log_says_why(lab: Serving) -> None:
    said = refusal(lambda: lab.deploy("odd", NAME, environment_variables={"CRASH": "yes"}))
    assert "ResourceNotReady" in said
    assert "no model to serve" in lab.ml.online_deployments.get_logs("odd", NAME, 20)
    assert_failed(lab)


def test_a_container_that_never_gets_ready_fails_the_deployment(lab: Serving) -> None:
    lab.azure.control.container_patience(0.5)
    try:
        said = refusal(lambda: lab.deploy("odd", NAME, environment_variables={"READY": "never"}, readiness_probe=PROBE))
    finally:
        lab.azure.control.container_patience(60)
    assert "readinessProbe at /readyz failed 2 times" in said
    assert_failed(lab)
    lab.azure.control.deployment_fault("never_ready")
    assert "ResourceNotReady" in refusal(lambda: lab.deploy("odd", NAME))
    assert_failed(lab)


@pytest.mark.parametrize(
    ("name", "dockerfile", "reason"),
    [
        ("phi-lacking", DOCKERFILE.replace("COPY app", "COPY nothing"), "/nothing"),
        ("phi-idle", DOCKERFILE.replace("CMD", "LABEL"), "neither CMD nor ENTRYPOINT"),
    ],
)
def test_an_image_that_does_not_build_fails_the_deployment(
    lab: Serving, tmp_path: Path, name: str, dockerfile: str, reason: str
) -> None:
    register_image(lab, name, context(tmp_path / name, dockerfile))
    said = refusal(lambda: lab.deploy("odd", NAME, environment=f"azureml:{name}:1"))
    assert "ImageBuildFailure" in said
    assert reason in said
    assert_failed(lab)


def test_a_slow_deployment_takes_longer(lab: Serving) -> None:
    lab.azure.control.deployment_fault("slow", seconds=30)
    waiting = lab.ml.online_deployments.begin_create_or_update(lab.deployment("late", NAME))
    assert lab.ml.online_deployments.get("late", NAME).provisioning_state == "Creating"
    waiting.result()
    lab.ml.online_deployments.begin_delete("late", NAME).result()


def test_a_system_assigned_identity_gets_its_roles(lab: Serving) -> None:
    lab.make("phi-system", identity=None)
    lab.deploy("blue", "phi-system")
    lab.ml.online_endpoints.begin_delete("phi-system").result()


def test_a_reader_sees_the_endpoint_and_not_its_keys(lab: Serving) -> None:
    owner = next(role["id"] for role in lab.azure.control.roles(USER) if role["role"] == "Owner")
    lab.azure.control.take_role(owner)
    reader = lab.azure.control.give_role(role="Reader")
    try:
        assert lab.ml.online_endpoints.get(NAME).name == NAME
        assert "onlineEndpoints/listKeys/action" in refusal(lambda: lab.ml.online_endpoints.get_keys(NAME))
        assert "onlineEndpoints/write" in refusal(lambda: lab.make("phi-mine"))
    finally:
        lab.azure.control.give_role()
        lab.azure.control.take_role(reader)


def assert_failed(lab: Serving) -> None:
    """The failed deployment exists for inspection, serves no requests, and can be deleted."""
    assert lab.ml.online_deployments.get("odd", NAME).provisioning_state == "Failed"
    assert not [c for c in lab.azure.control.containers() if c["deployment"] == "odd"]
    assert "it cannot get traffic" in refusal(lambda: lab.shift(NAME, odd=100))
    lab.ml.online_deployments.begin_delete("odd", NAME).result()
    assert lab.azure.control.resource(lab.id_of(NAME, "odd")) is None
