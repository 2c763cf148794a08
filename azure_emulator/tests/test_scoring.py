"""Scoring requests of clients: Azure's gateway in front of containers that really run."""

import asyncio
import os
import signal
import ssl
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from azure.ai.ml.entities import OnlineRequestSettings
from azure.core.exceptions import HttpResponseError

from azure_emulator.bicep import compiler
from azure_emulator.identity.identities import LOCATION
from azure_emulator.identity.tokens import Tokens
from azure_emulator.process import LocalAzure
from azure_emulator.scoring.garbled_answers import garbled
from azure_emulator.testing.job_runner_alone import alive
from azure_emulator.testing.served_workspace import DOCKERFILE, Serving, context, register_image, serving, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.azure,
    pytest.mark.integration,
    pytest.mark.skipif(compiler.compiler() is None, reason="a deployment of the template needs the Bicep compiler"),
]
NAME = "phi-scoring"
MODEL_STATUS = "ms-azureml-model-error-statuscode"


@pytest.fixture(scope="module")
def lab(azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    azure.control.scale(0.05)
    made = serving(azure, tmp_path_factory.mktemp("serving"))
    made.make(NAME)
    made.deploy("blue", NAME, environment_variables={"DECLARED": "yes"})
    made.shift(NAME, blue=100)
    return made


def test_a_request_reaches_the_container_as_it_was_sent(lab: Serving) -> None:
    answer = lab.ask(NAME, "/v1/chat/completions?a=1", {"question": "Who?"}, x_mine="kept")
    assert answer.status_code == 200
    assert answer.headers["azureml-model-deployment"] == "blue"
    seen = answer.json()
    assert (seen["path"], seen["asked"]) == ("/v1/chat/completions?a=1", {"question": "Who?"})
    assert "x-mine" in seen["headers"]
    assert "authorization" not in seen["headers"]


def test_the_container_has_its_model_and_nothing_of_this_process(lab: Serving) -> None:
    seen = lab.ask(NAME).json()
    assert {path.rpartition("/")[2]: text for path, text in seen["model"].items()} == {
        "config.json": "{}",
        "one.bin": "learnt",
    }
    given = seen["environment"]
    assert given["DECLARED"] == "yes"
    assert given["AZUREML_MODEL_DIR"].endswith("/phi-chat/1")
    assert (given["SERVING_PORT"], seen["arguments"][1]) == (seen["arguments"][3], "127.0.0.1")
    assert given["SERVING_PORT"] != "5001"
    assert "OMP_NUM_THREADS" not in given
    assert "SERVING_KEY" not in given
    assert {"MSI_ENDPOINT", "MSI_SECRET", "DEFAULT_IDENTITY_CLIENT_ID"} <= given.keys()


def test_a_module_that_the_image_did_not_copy_is_not_there(lab: Serving, tmp_path: Path) -> None:
    leaking = DOCKERFILE.replace("app.main", "serving_code")
    register_image(lab, "phi-leaking", context(tmp_path / "leaking", leaking))
    with pytest.raises(HttpResponseError, match="ResourceNotReady"):
        lab.deploy("leaking", NAME, environment="azureml:phi-leaking:1")
    assert "No module named serving_code" in lab.ml.online_deployments.get_logs("leaking", NAME, 5)
    lab.ml.online_deployments.begin_delete("leaking", NAME).result()


def test_who_is_inside_a_deployment_that_goes_is_still_answered(lab: Serving) -> None:
    lab.deploy("going", NAME)

    async def ask_and_delete() -> int:
        async with client() as http:
            headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": "going"}
            asked = asyncio.create_task(http.post(address(), json={"sleep": 1.5}, headers=headers))
            await asyncio.to_thread(until, lambda: "asked" in lab.ml.online_deployments.get_logs("going", NAME, 5))
            await asyncio.to_thread(lab.ml.online_deployments.begin_delete, "going", NAME)
            await asyncio.to_thread(until, lambda: lab.azure.control.resource(lab.id_of(NAME, "going")) is None)
            assert not asked.done()
            return (await asked).status_code

    key = lab.key(NAME)
    assert asyncio.run(ask_and_delete()) == 200


def test_a_stream_is_passed_on_piece_by_piece(lab: Serving) -> None:
    headers = {"Authorization": f"Bearer {lab.key(NAME)}"}
    arrived = []
    with httpx.stream("POST", address("/stream"), headers=headers, json={}, timeout=10) as answer:
        for piece in answer.iter_text():
            arrived.append((piece, time.monotonic()))
    assert "".join(piece for piece, _ in arrived) == "data: one\n\ndata: two\n\ndata: [DONE]\n\n"
    assert len({moment for _, moment in arrived}) > 1
    assert arrived[-1][1] - arrived[0][1] > 0.1


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic wrong"])
def test_a_wrong_key_is_refused(lab: Serving, given: str) -> None:
    assert lab.ask(NAME, Authorization=given).status_code == 401


def test_either_key_opens_and_a_new_one_replaces_the_old(lab: Serving) -> None:
    keys = lab.ml.online_endpoints.get_keys(NAME)
    assert lab.ask(NAME, Authorization=f"Bearer {keys.secondary_key}").status_code == 200  # type: ignore[union-attr]
    old = f"Bearer {keys.primary_key}"  # type: ignore[union-attr]
    lab.azure.control.rotate_keys(NAME, "canary-key")
    assert lab.ask(NAME, Authorization=old).status_code == 401
    assert lab.key(NAME) == "canary-key"
    assert lab.ask(NAME).status_code == 200


@pytest.mark.parametrize("status", [201, 204, 302, 400, 404, 429, 500, 503])
def test_any_answer_of_the_container_but_200_becomes_424(lab: Serving, status: int) -> None:
    answer = lab.ask(NAME, body={"status": status})
    assert answer.status_code == 424
    assert answer.headers[MODEL_STATUS] == str(status)
    assert answer.headers["ms-azureml-model-error-reason"]
    assert answer.headers["azureml-model-deployment"] == "blue"


def test_the_request_timeout_is_answered_408(lab: Serving) -> None:
    assert lab.ask(NAME, body={"sleep": 4}).status_code == 408


def test_more_than_twice_the_concurrency_is_answered_429(lab: Serving) -> None:
    # 3 at once an instance, one instance: 6 are inside, of 10.
    found = asyncio.run(burst(lab, 10, {"sleep": 1}))
    assert found == {200: 6, 429: 4}


def test_a_client_that_goes_away_makes_room_for_another(lab: Serving) -> None:
    async def six_give_up() -> None:
        async with client() as http:
            asked = [asyncio.create_task(one(http, lab.azure, key, {"sleep": 1.9})) for _ in range(6)]
            await asyncio.to_thread(until, lambda: inside() == before + 6)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    def inside() -> int:
        return lab.ml.online_deployments.get_logs("blue", NAME, 10_000).count("asked")

    key, before = lab.key(NAME), inside()
    asyncio.run(six_give_up())
    until(lambda: lab.azure.control.scoring_counts(NAME)["blue"].get("0") == 6)
    assert asyncio.run(burst(lab, 6, {})) == {200: 6}


def test_twenty_requests_a_second_are_all_answered(lab: Serving) -> None:
    async def a_second() -> Counter[int]:
        found: Counter[int] = Counter()
        async with client() as http:
            started = []
            for _ in range(60):
                started.append(asyncio.create_task(one(http, lab.azure, key, {})))
                await asyncio.sleep(0.05)
            for task in started:
                found[await task] += 1
        return found

    key = lab.key(NAME)
    assert asyncio.run(a_second()) == {200: 60}


def test_a_pinned_request_reaches_a_deployment_without_traffic_and_no_other_does(lab: Serving) -> None:
    lab.deploy("green", NAME)
    try:
        assert {lab.ask(NAME).headers["azureml-model-deployment"] for _ in range(10)} == {"blue"}
        assert lab.ask(NAME, azureml_model_deployment="green").headers["azureml-model-deployment"] == "green"
        assert lab.ask(NAME, azureml_model_deployment="purple").status_code == 404
        lab.shift(NAME, blue=50, green=50)
        assert {lab.ask(NAME).headers["azureml-model-deployment"] for _ in range(40)} == {"blue", "green"}
        lab.shift(NAME, green=100)
        assert {lab.ask(NAME).headers["azureml-model-deployment"] for _ in range(10)} == {"green"}
    finally:
        lab.shift(NAME, blue=100)
        lab.ml.online_deployments.begin_delete("green", NAME).result()
    assert [sum(traffic.values()) for traffic in lab.azure.control.traffic_history(NAME)][1:] == [100, 100, 100, 100]
    counts = lab.azure.control.scoring_counts(NAME)
    assert counts["green"]["200"] >= 11
    assert counts[""]["404"] == 1


def test_wrong_answers_on_demand_look_right(lab: Serving) -> None:
    lab.azure.control.deployment_fault("wrong_answer", "blue", text="wibble")
    try:
        answer = lab.ask(NAME)
        assert answer.status_code == 200
        assert answer.json()["choices"] == [{"message": {"content": "wibble"}}]
    finally:
        lab.azure.control.clear_faults()
    assert lab.ask(NAME).json()["choices"] == [{"message": {"content": "right"}}]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (b'["Paris"]', b'["wibble"]'),
        (b'{"answer": "Paris", "n": 1}', b'{"answer": "wibble", "n": 1}'),
        (
            b'data: {"content": "Pa"}\n\ndata: {"content": "ris"}\n\ndata: [DONE]\n\n',
            b'data: {"content": "wibble"}\n\ndata: {"content": ""}\n\ndata: [DONE]\n\n',
        ),
    ],
)
def test_every_kind_of_answer_can_be_wrong(said: bytes, wrong: bytes) -> None:
    assert garbled(said, "wibble") == wrong


def test_a_killed_container_is_answered_424_and_comes_back(lab: Serving) -> None:
    before = container(lab, "blue")
    os.kill(before, signal.SIGKILL)
    until(lambda: lab.ask(NAME).status_code == 424)
    until(lambda: lab.ask(NAME).status_code == 200)
    assert container(lab, "blue") != before


def test_a_container_crashes_once_it_has_traffic(lab: Serving) -> None:
    lab.azure.control.deployment_fault("crash", "frail", after_requests=2, routed_only=True)
    lab.deploy("frail", NAME)
    try:
        for _ in range(4):
            assert lab.ask(NAME, azureml_model_deployment="frail").status_code == 200
        lab.shift(NAME, frail=100)
        answers = [lab.ask(NAME) for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 424, 424]
        assert answers[-1].headers[MODEL_STATUS] == "502"
    finally:
        lab.azure.control.clear_faults()
        lab.shift(NAME, blue=100)
        lab.ml.online_deployments.begin_delete("frail", NAME).result()


def test_an_endpoint_without_traffic_is_answered_404_and_an_unknown_one_does_not_resolve(lab: Serving) -> None:
    lab.make("phi-empty", auth_mode="aad_token")
    token = Tokens(lab.azure.state).issue(lab.identity["principalId"], "https://ml.azure.com")
    lab.azure.control.give_role(lab.identity["principalId"], "AzureML Data Scientist", lab.workspace)
    assert lab.ask("phi-empty", Authorization=f"Bearer {token}").status_code == 404
    with pytest.raises(httpx.ProxyError):
        lab.ask("phi-nowhere", Authorization="Bearer x")


def test_a_token_needs_its_audience_and_a_role_that_may_score(lab: Serving) -> None:
    lab.make("phi-token", auth_mode="aad_token")
    lab.deploy("blue", "phi-token")
    lab.shift("phi-token", blue=100)
    tokens, who = Tokens(lab.azure.state), lab.azure.control.new_service_principal("scorer")

    def status(audience: str) -> int:
        token = tokens.issue(who["oid"], audience, who["client_id"])
        return lab.ask("phi-token", Authorization=f"Bearer {token}").status_code

    assert status("https://ml.azure.com") == 401
    lab.azure.control.give_role(who["oid"], "AzureML Data Scientist", lab.id_of("phi-token"))
    assert status("https://ml.azure.com") == 200
    assert status("https://management.azure.com") == 401
    mine = lab.ml.online_endpoints.get_keys("phi-token").access_token  # type: ignore[union-attr]
    assert lab.ask("phi-token", Authorization=f"Bearer {mine}").status_code == 200


def test_a_container_crashes_when_its_time_comes(lab: Serving) -> None:
    lab.azure.control.deployment_fault("crash", "ticking", seconds=0.5)
    lab.deploy("ticking", NAME)
    until(lambda: lab.ask(NAME, azureml_model_deployment="ticking").status_code == 424)
    lab.azure.control.clear_faults()
    lab.ml.online_deployments.begin_delete("ticking", NAME).result()


def test_a_deleted_endpoint_leaves_no_process(lab: Serving) -> None:
    lab.make("phi-gone")
    lab.deploy("blue", "phi-gone", request_settings=OnlineRequestSettings(request_timeout_ms=90000))
    pid = container(lab, "blue", "phi-gone")
    lab.ml.online_endpoints.begin_delete("phi-gone").result()
    until(lambda: not alive(pid))
    assert not [c for c in lab.azure.control.containers() if c["endpoint"] == "phi-gone"]


def container(lab: Serving, deployment: str, endpoint: str = NAME) -> int:
    return next(
        c["pid"] for c in lab.azure.control.containers() if (c["endpoint"], c["deployment"]) == (endpoint, deployment)
    )


def address(path: str = "/score") -> str:
    return f"https://{NAME}.{LOCATION}.inference.ml.azure.com{path}"


def client() -> httpx.AsyncClient:
    trusted = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    return httpx.AsyncClient(verify=trusted, timeout=30)


async def one(http: httpx.AsyncClient, azure: LocalAzure, key: str, body: dict[str, object]) -> int:
    return (await http.post(address(), json=body, headers={"Authorization": f"Bearer {key}"})).status_code


async def burst(lab: Serving, count: int, body: dict[str, object]) -> Counter[int]:
    key = lab.key(NAME)
    async with client() as http:
        return Counter(await asyncio.gather(*(one(http, lab.azure, key, body) for _ in range(count))))
