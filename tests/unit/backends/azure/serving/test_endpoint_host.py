"""The managed online endpoint and its deployments: created once, and replaced without a failed request."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from azure_emulator.control import Control
from phi_assets import endpoint_client
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.evaluation.registry import MODEL_NAME
from phi_assets.backends.azure.infrastructure import providers
from phi_assets.backends.azure.serving import blue_green, deployment_spec, image
from phi_assets.backends.azure.serving.blue_green import DeploymentFailed
from phi_assets.endpoint_client import NoAnswer
from phi_assets.records import Deployment, Endpoint
from tests.support.azure_endpoint import Stage, asked_all_the_time
from tests.support.azure_jobs import MARKS
from tests.support.azure_place import Place

pytestmark = MARKS


@pytest.mark.guide("endpoint")
def test_the_endpoint_is_made_once_with_the_identity_and_our_tags(stage: Stage, serving):
    made = stage.control.resource(stage.endpoint.id)
    assert made is not None
    [identity] = made["identity"]["userAssignedIdentities"]
    assert identity.lower() == stage.place.id("managed_identity").lower()
    assert made["properties"]["authMode"] == "Key"
    assert made["tags"] == {"azd-env-name": stage.place.name, "phi-proven": serving}

    stage.control.forget_requests()
    record = stage.host().ensure_endpoint(stage.place.log)

    assert stage.place.writes() == []
    assert record == stage.host().find(record.digest)
    assert record.address == f"https://{record.name}.eastus2.inference.ml.azure.com"
    assert 3 <= len(record.name) <= 32
    assert isinstance(record, Endpoint)
    assert record.auth == "key"


@pytest.mark.guide("deployment")
def test_the_deployment_has_the_guides_settings_where_they_are_right(stage: Stage, serving):
    made = stage.control.resource(f"{stage.endpoint.id}/deployments/{serving}")
    assert made is not None
    of = made["properties"]
    assert (of["instanceType"], made["sku"]["capacity"]) == ("Standard_E4s_v3", 1)
    assert of["requestSettings"]["maxConcurrentRequestsPerInstance"] == 3
    assert of["requestSettings"]["requestTimeout"] == "PT180S"
    assert of["livenessProbe"]["period"] == of["readinessProbe"]["period"] == "PT10S"
    assert "SERVING_KEY" not in of["environmentVariables"]
    assert of["properties"]["training_run"] == "r" * 8
    assert all(len(value) <= 256 for value in made["tags"].values())


@pytest.mark.guide("deployment")
def test_deploying_the_same_model_again_writes_nothing(stage: Stage, serving):
    champion = stage.registered("first")
    stage.control.forget_requests()

    record = stage.host().deploy(champion, stage.place.log)

    assert stage.place.writes() == []
    assert record == stage.host().find(record.digest)
    assert isinstance(record, Deployment)
    assert (record.name, record.model_name, record.dollars_a_day) == (serving, MODEL_NAME, 6.05)


@pytest.mark.guide("traffic")
def test_a_new_model_takes_over_and_every_question_is_answered(stage: Stage, serving):
    with asked_all_the_time(stage, a_second=20) as answers:
        record = stage.host(canary_minutes=0.02, drain_seconds=1.0, concurrency=9).deploy(
            stage.registered("second"), stage.place.log
        )
    # The machines were set otherwise too, so that only one deployment is right afterwards.
    assert stage.serving()[0] == record.name != serving
    assert {answer.status_code for answer in answers} == {200}
    by = [answer.headers["azureml-model-deployment"] for answer in answers]
    assert set(by) == {serving, record.name}
    texts = {answer.json()["choices"][0]["message"]["content"] for answer in answers}
    assert len(texts) == 2
    shares = stage.control.traffic_history(stage.endpoint.name)
    assert {serving: 90, record.name: 10} in shares
    stage.whole()


def test_status_names_what_serves_and_down_says_that_it_goes_on(stage: Stage, serving):
    status = stage.host().status()
    assert (status["alive"], status["ready"]) == (True, True)
    [deployment] = status["deployments"]
    assert (deployment["name"], deployment["traffic"], deployment["ready"]) == (serving, 100, True)
    stage.control.forget_requests()
    stage.host().stop(stage.place.log)
    stage.host().start(stage.place.log)
    assert stage.place.writes() == []
    assert "6.05 dollars a day" in stage.place.said[-1]
    assert "phi teardown" in stage.place.said[-1]
    assert "https://ml.azure.com/endpoints/realtime/" in stage.host().remedy


def test_before_anything_is_deployed_there_is_nothing_to_ask(control: Control, tmp_path):
    host = Stage(Place(control, tmp_path, "nothing-yet")).host()
    assert (host.status()["alive"], host.remedy) == (False, "`phi run` creates it")
    host.stop(print)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ("crashing", "these weights cannot be loaded"),
        ("broken", "answered 500: the weights are broken"),
        ("silent", "gave an empty answer"),
        ("two-tongued", "greedy answers must be equal"),
        ("stuck", "greedy answers must be equal"),
    ],
)
def test_a_model_that_does_not_serve_changes_nothing_and_the_failure_says_why(stage: Stage, serving, weights, reason):
    with asked_all_the_time(stage, a_second=10) as answers, pytest.raises(DeploymentFailed) as failed:
        stage.host().deploy(stage.registered(weights), stage.place.log)
    said = str(failed.value.description)
    assert f"{serving} keeps the traffic" in said
    assert reason in said
    assert "abcdefghijklmnopqrstuvwxyz" not in said
    assert stage.serving()[0] == serving
    assert {answer.status_code for answer in answers} == {200}


def test_one_that_is_never_ready_is_taken_away(stage: Stage, serving):
    stage.control.deployment_fault("never_ready")
    with pytest.raises(DeploymentFailed, match=r"did not get ready: \w+Probe at /\w+ failed"):
        stage.host().deploy(stage.registered("never"), stage.place.log)
    assert stage.serving()[0] == serving


@pytest.mark.guide("traffic")
@pytest.mark.parametrize("text", ["", "nonsense"])
def test_one_that_answers_wrongly_from_the_start_gets_no_traffic(stage: Stage, serving, text):
    before = len(stage.control.traffic_history(stage.endpoint.name))
    stage.control.deployment_fault("wrong_answer", text=text)
    with pytest.raises(DeploymentFailed, match="gave an empty answer" if not text else "must be the beginning"):
        stage.host().deploy(stage.registered(f"wrong{text}"), stage.place.log)
    assert stage.serving()[0] == serving
    assert len(stage.control.traffic_history(stage.endpoint.name)) == before


def test_one_that_begins_to_answer_wrongly_while_it_is_tried_gives_the_traffic_back(stage: Stage, serving):
    host = stage.host(canary_minutes=1.0)
    model = stage.registered("turning")
    name = host._wanted(model).name
    with ThreadPoolExecutor(1) as pool:
        deploying = pool.submit(host.deploy, model, stage.place.log)
        stage.until_traffic({serving: 90, name: 10})
        stage.control.deployment_fault("wrong_answer", name, text="nonsense")
        with pytest.raises(DeploymentFailed, match=f"{serving} keeps the traffic.*'nonsense'"):
            deploying.result(60)
    assert stage.serving()[0] == serving
    stage.whole()


@pytest.mark.guide("traffic")
def test_one_that_crashes_at_a_tenth_of_the_traffic_gives_it_back(stage: Stage, serving):
    stage.control.deployment_fault("crash", after_requests=0, routed_only=True)
    with pytest.raises(DeploymentFailed, match=f"{serving} keeps the traffic.*answered 502"):
        stage.host(canary_minutes=1.0).deploy(stage.registered("fragile"), stage.place.log)
    assert stage.serving()[0] == serving
    shares = stage.control.traffic_history(stage.endpoint.name)[-2:]
    assert (sorted(shares[0].values()), shares[1]) == ([10, 90], {serving: 100})


def test_an_interrupted_run_leaves_the_old_one_alone(stage: Stage, serving, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(endpoint_client, "smoke_test", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.host().deploy(stage.registered("interrupted"), stage.place.log)
    assert stage.serving()[0] == serving


def test_an_image_that_may_not_be_pulled_names_the_role(stage: Stage, serving):
    identity = stage.control.resource(stage.place.id("managed_identity"))
    assert identity
    given = [r for r in stage.control.roles(identity["properties"]["principalId"]) if r["role"] == "AcrPull"]
    for one in given:
        stage.control.take_role(one["id"])
    try:
        with pytest.raises(DeploymentFailed, match="AcrPull"):
            stage.host().deploy(stage.registered("unpulled"), stage.place.log)
    finally:
        for one in given:
            stage.control.give_role(one["oid"], one["role"], one["scope"])
    assert stage.serving()[0] == serving


def test_a_role_that_is_late_is_waited_for(stage: Stage, serving, monkeypatch):
    identity = stage.control.resource(stage.place.id("managed_identity"))
    assert identity
    [given] = [r for r in stage.control.roles(identity["properties"]["principalId"]) if r["role"] == "AcrPull"]
    stage.control.take_role(given["id"])

    def arrive(seconds: float) -> None:
        if seconds == blue_green.ROLE_WAIT:
            stage.control.give_role(given["oid"], given["role"], given["scope"])

    monkeypatch.setattr(blue_green.time, "sleep", arrive)
    record = stage.host(role_minutes=5).deploy(stage.registered("patient"), stage.place.log)
    assert stage.serving()[0] == record.name
    assert any("has not taken effect yet" in words for words in stage.place.said)


@pytest.mark.guide("serving-quota")
def test_too_little_quota_is_said_with_what_to_do(stage: Stage, serving):
    stage.control.set_quota("standardESv3Family", 15)
    try:
        with pytest.raises(DeploymentFailed, match=r"Not enough quota.* 8/15.*PHI_AZURE_ENDPOINT_VM_SIZE"):
            stage.host().deploy(stage.registered("large"), stage.place.log)
    finally:
        stage.control.set_quota("standardESv3Family", 100)
    assert stage.serving()[0] == serving


def test_after_a_rotation_the_key_is_the_new_one(stage: Stage, serving):
    old = stage.host().key()
    stage.control.rotate_keys(stage.endpoint.name, primary="another-key-of-the-endpoint")
    assert stage.host().key() == "another-key-of-the-endpoint"
    assert stage.ask().status_code == 200
    assert stage.ask(key=old).status_code == 401


def test_a_key_that_is_rotated_while_a_model_is_deployed_is_fetched_again(stage: Stage, serving, monkeypatch):
    def rotate(step: str) -> None:
        if step == "tested":
            stage.control.rotate_keys(stage.endpoint.name)

    monkeypatch.setattr(blue_green, "reached", rotate)
    record = stage.host().deploy(stage.registered("rotated"), stage.place.log)
    assert stage.serving()[0] == record.name


@pytest.mark.guide("endpoint")
def test_entra_tokens_instead_of_keys_by_setting_and_back(stage: Stage, serving):
    host = stage.host(auth="aad_token")
    record = host.ensure_endpoint(stage.place.log)
    assert record.auth == "aad_token"
    state = stage.endpoint.read()
    assert state is not None
    assert (state.traffic, state.tags["phi-proven"]) == ({serving: 100}, serving)
    answer = endpoint_client.chat(record.address, host.key(), [{"role": "user", "content": "Hello"}])
    assert answer.deployment == serving
    with pytest.raises(NoAnswer, match="401"):
        endpoint_client.chat(record.address, "a-key", [{"role": "user", "content": "Hello"}])
    assert stage.host().find(record.digest) is None
    assert host.deploy(stage.registered("entra"), stage.place.log).name != serving
    stage.host().ensure_endpoint(stage.place.log)
    assert stage.host().ensure_endpoint(stage.place.log).auth == "key"


def test_an_endpoint_that_azure_fails_says_why_and_what_to_do(stage: Stage, serving, monkeypatch):
    monkeypatch.setattr(providers, "ensure_registered", lambda *_: None)
    stage.control.set_provider("Microsoft.Cdn", "NotRegistered")
    try:
        with pytest.raises(AzureRefused, match=r"is failed: .*Microsoft\.Cdn.*run again.*phi teardown"):
            stage.host(auth="aad_token").ensure_endpoint(stage.place.log)
    finally:
        stage.control.set_provider("Microsoft.Cdn", "Registered")
    assert stage.host().ensure_endpoint(stage.place.log).auth == "key"


def test_a_deployment_whose_traffic_was_taken_away_is_missed_and_gets_it_again(stage: Stage, serving):
    champion = stage.registered("again")
    record = stage.host().deploy(champion, stage.place.log)
    stage.endpoint.put("key", {})
    assert stage.host().find(record.digest) is None
    assert stage.host().deploy(champion, stage.place.log) == record
    assert stage.serving()[0] == record.name


def test_the_image_is_known_by_the_server_and_its_packages(tmp_path):
    context = image.stage(tmp_path)
    names = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}
    assert {"Dockerfile", "requirements.txt", "serving_code/__main__.py"} <= names
    assert not [name for name in names if "__pycache__" in name or "environment" in name]


@pytest.mark.guide("deployment")
def test_probes_wait_for_a_large_model_and_see_a_hung_server_within_minutes():
    def allowed(probe: dict[str, object]) -> float:
        delay, period = (float(str(probe[key]).strip("PTS")) for key in ("initialDelay", "period"))
        return delay + period * int(str(probe["failureThreshold"]))

    assert 600 <= allowed(deployment_spec.READINESS) <= 1200
    assert allowed(deployment_spec.LIVENESS) <= 180
