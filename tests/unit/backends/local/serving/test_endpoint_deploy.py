"""Deployments behind a stable address: a new one is proven before it takes traffic, and a bad one changes nothing."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import openai
import pytest

from phi_assets.backends.local.serving.endpoint import AddressTaken, DeploymentFailed, EndpointError, LocalEndpoint
from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.backends.local.serving.state import DeploymentState, write_state
from tests.support.local_endpoint import ask, asked_all_the_time, deploy, kill, running, served_by, smoke, until
from tests.support.tiny_models import make_tiny_phi3

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_phi3(tmp_path_factory.mktemp("model"))


@pytest.fixture
def endpoint(tmp_path):
    made = LocalEndpoint(tmp_path, "phi")
    yield made
    made.stop()
    assert running(made) == set()


@pytest.fixture(scope="module")
def live(tmp_path_factory, model):
    """An endpoint with a good deployment; each test leaves it with one, of whatever colour and version."""
    made = LocalEndpoint(tmp_path_factory.mktemp("live"), "phi")
    deploy(made, model, "1")
    yield made
    made.stop()
    assert running(made) == set()


@pytest.fixture
def colour(live):
    """The deployment that serves, and what the test must leave."""
    return live.state().live().name


def only(endpoint: LocalEndpoint, version: str) -> bool:
    """One deployment serves this version with all traffic, and nothing else is left."""
    status = endpoint.status()
    [deployment] = status["deployments"]
    assert deployment["traffic"] == 100
    assert (deployment["alive"], deployment["ready"], status["ready"]) == (True, True, True)
    assert running(endpoint) == {"router", deployment["name"]}
    return served_by(endpoint) == (deployment["name"], version)


def test_a_new_version_takes_over_without_a_failed_request(live, model, colour):
    lines, old = [], served_by(live)[1]
    address, key = live.ensure().address, live.key()
    with asked_all_the_time(live) as outcomes:
        until(lambda: len(outcomes) > 10)
        new = deploy(live, model, "2", log=lines.append)
        seen = len(outcomes)
        until(lambda: len(outcomes) > seen + 10)

    assert {colour, new.name} == {"blue", "green"}
    assert only(live, "2")
    assert (live.ensure().address, live.key()) == (address, key)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception) or outcome.status_code != 200] == []
    versions = [outcome.headers["x-model-version"] for outcome in outcomes if isinstance(outcome, httpx.Response)]
    assert versions.count(old) > 10
    assert versions[-3:] == ["2"] * 3
    assert f"{new.name} takes 100% of the traffic" in lines
    assert key not in "\n".join(lines)


def test_the_same_model_again_changes_nothing(live, model, colour):
    version = served_by(live)[1]
    before = live.state(), ServerProcess(live.folder, colour).pid()

    deploy(live, model, version, smoke=lambda *_: pytest.fail("nothing new to test"))

    assert (live.state(), ServerProcess(live.folder, colour).pid()) == before


def test_the_key_is_only_for_the_owner_and_in_no_log_or_command_line(live, colour):
    assert stat.S_IMODE((live.folder / "key").stat().st_mode) == 0o600
    assert len(live.key()) >= 32
    ask(live)
    pids = [ServerProcess(live.folder, name).pid() for name in ("router", colour)]
    told = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids] + [json.dumps(live.status())]
    told += [file.read_text() for file in live.folder.iterdir() if file.name != "key"]
    assert not any(live.key() in text for text in told)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_serving_and_says_why(live, tmp_path, colour):
    version = served_by(live)[1]
    bad = make_tiny_phi3(tmp_path / "bad")
    (bad / "model.safetensors").write_bytes(b"not weights")

    with pytest.raises(DeploymentFailed, match=f"{colour} keeps the traffic") as failed:
        deploy(live, bad, "bad")

    assert "loading_failed" in str(failed.value)
    assert "SafetensorError" in str(failed.value)
    assert only(live, version)


def test_a_server_that_is_not_ready_in_time_leaves_the_old_one_serving(live, model):
    version = served_by(live)[1]

    with pytest.raises(DeploymentFailed, match=r"not ready after 0 s"):
        deploy(live, model, "late", ready_timeout=0.2)

    assert only(live, version)


def test_a_failed_smoke_test_leaves_the_old_one_serving(live, model, colour):
    version = served_by(live)[1]

    def wrong(address, key, deployment):
        smoke(address, key, deployment)
        raise ValueError("it answered gibberish")

    with pytest.raises(DeploymentFailed, match=f"{colour} keeps the traffic: it answered gibberish"):
        deploy(live, model, "wrong", smoke=wrong)

    assert only(live, version)


def test_a_server_that_dies_in_its_smoke_test_takes_no_traffic(live, model):
    version = served_by(live)[1]

    with pytest.raises(DeploymentFailed, match="ended while it was tested"):
        deploy(live, model, "dying", smoke=lambda address, key, deployment: kill(live, deployment))

    assert only(live, version)


def test_a_cancelled_deployment_is_cleaned_up(live, model, monkeypatch):
    monkeypatch.setattr("phi_assets.backends.local.serving.servers.PROGRESS_SECONDS", 0.0)
    version = served_by(live)[1]

    def cancel(line):
        if "loading" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deploy(live, model, "cancelled", log=cancel)

    assert only(live, version)


KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from phi_assets.backends.local.serving import endpoint as endpoints
from tests.support.local_endpoint import deploy
endpoint, moment = endpoints.LocalEndpoint(Path(sys.argv[1]), "phi"), sys.argv[3]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "starting":
    endpoints.await_ready = die
if moment == "settling":
    endpoints.time = SimpleNamespace(sleep=die)
deploy(endpoint, Path(sys.argv[2]), moment, **({"smoke": die} if moment == "testing" else {}))
"""


@pytest.mark.parametrize(("moment", "moved"), [("starting", False), ("testing", False), ("settling", True)])
def test_killed_at_any_moment_the_next_call_ends_in_one_serving_deployment(live, model, moment, moved):
    before = served_by(live)[1]
    command = [sys.executable, "-c", KILLED, str(live.root), str(model), moment]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[5], check=False)

    assert done.returncode == -signal.SIGKILL
    assert running(live) == {"router", "blue", "green"}
    assert served_by(live)[1] == (moment if moved else before)
    live.start()
    assert only(live, moment if moved else before)


def test_after_stop_and_start_address_key_and_model_are_the_same(live):
    version = served_by(live)[1]
    before = live.state(), live.key()
    live.stop()
    assert running(live) == set()
    assert live.status()["ready"] is False

    live.start()

    assert (live.state(), live.key()) == before
    assert only(live, version)


def test_a_killed_router_is_brought_back_by_start(live):
    version, before = served_by(live)[1], live.state()
    kill(live, "router")

    live.start()

    assert only(live, version)
    assert live.state().address == before.address


def test_a_killed_server_is_a_503_with_what_to_do_until_start_brings_it_back(live, colour):
    version = served_by(live)[1]
    kill(live, colour)

    answer = ask(live)

    assert answer.status_code == 503
    assert "start the endpoint's servers" in answer.json()["error"]["message"]
    assert live.status()["ready"] is False
    live.start()
    assert only(live, version)


def test_start_leaves_out_a_deployment_whose_model_was_deleted_and_says_so(endpoint):
    state, lines = endpoint.ensure(), []
    lost = DeploymentState("blue", "/nowhere/model", "tiny", "1", "d", "c", 40001)
    write_state(endpoint.folder / "state.json", state.with_deployment(lost).with_traffic({"blue": 100}))

    endpoint.start(lines.append)

    assert lines == ["blue cannot be started, its model is missing: /nowhere/model; deploy a model again"]
    assert running(endpoint) == {"router"}


def test_a_share_of_the_traffic_can_be_tried_before_all_of_it(live, model):
    old = served_by(live)[1]
    tried = deploy(live, model, "tried", traffic=40)

    assert {served_by(live)[1] for _ in range(40)} == {old, "tried"}
    assert ask(live, tried.name).headers["x-model-version"] == "tried"
    assert running(live) == {"router", "blue", "green"}

    deploy(live, model, "tried")

    assert only(live, "tried")


def test_two_deployments_at_once_queue_and_the_second_finds_its_work_done(live, model):
    lines = []
    threads = [
        threading.Thread(target=deploy, args=(live, model, "both"), kwargs={"log": lines.append}) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert lines.count("another process is changing endpoint phi; waiting for it") == 1
    assert sum("serves tiny:both already" in line for line in lines) == 1
    assert only(live, "both")


def test_two_homes_have_addresses_and_keys_of_their_own(live, endpoint):
    state = endpoint.ensure()

    assert state.address != live.state().address
    assert endpoint.key() != live.key()
    assert ask(live).status_code == 200


def test_an_endpoint_without_a_deployment_answers_with_the_reason(endpoint):
    endpoint.ensure()

    answer = ask(endpoint)

    assert answer.status_code == 404
    assert "deploy a model first" in answer.json()["error"]["message"]
    assert httpx.get(f"{endpoint.state().address}/livez").status_code == 200
    assert httpx.get(f"{endpoint.state().address}/readyz").status_code == 503
    assert endpoint.start().deployments == {}


def test_an_address_that_another_process_took_is_an_error_that_names_it(endpoint):
    state = endpoint.ensure()
    endpoint.stop()
    from phi_assets.backends.local.serving.servers import listener

    with listener(state.port), pytest.raises(AddressTaken, match=f"127.0.0.1:{state.port}"):
        endpoint.start()


def test_a_changed_router_is_started_again_on_the_same_address(endpoint, monkeypatch):
    state = endpoint.ensure()
    pid = ServerProcess(endpoint.folder, "router").pid()
    monkeypatch.setattr("phi_assets.backends.local.serving.endpoint.router_digest", lambda: "other")

    again = endpoint.ensure()

    assert again.address == state.address
    assert ServerProcess(endpoint.folder, "router").pid() != pid


def test_nothing_recorded_is_nothing_to_start(tmp_path):
    endpoint = LocalEndpoint(tmp_path, "phi")

    assert endpoint.start() is None
    assert endpoint.status()["address"] is None
    with pytest.raises(EndpointError, match="ensure it first"):
        endpoint.key()


def test_openais_client_streams_through_the_endpoint(live):
    with openai.OpenAI(base_url=f"{live.state().address}/v1", api_key=live.key(), max_retries=0) as client:
        stream = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hello"}], max_tokens=5, stream=True, temperature=0
        )
        chunks = list(stream)

    assert chunks[-1].choices[0].finish_reason == "length"
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks) == 5


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_the_work_behind_the_router(live, colour, stream):
    headers = {"Authorization": f"Bearer {live.key()}", "x-request-id": f"impatient-{stream}"}
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 1900, "stream": stream, "temperature": 0}
    with httpx.Client(base_url=live.state().address, headers=headers, timeout=0.5) as client:
        if stream:
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                next(answer.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body)

    def logged():
        lines = map(json.loads, (live.folder / f"{colour}.log").read_text().splitlines())
        return [line for line in lines if line.get("request_id") == f"impatient-{stream}"]

    until(lambda: bool(logged()))
    assert logged()[0]["usage"] == {}


@pytest.mark.parametrize(
    ("headers", "status", "hint"),
    [
        ({"Authorization": "Bearer wrong"}, 401, "the key is wrong"),
        ({"Authorization": ""}, 401, "no key was given"),
        ({"azureml-model-deployment": "purple"}, 404, "no deployment 'purple'; "),
    ],
)
def test_the_router_refuses_with_what_to_do(live, headers, status, hint):
    headers = {"Authorization": f"Bearer {live.key()}", **headers}

    answer = httpx.post(f"{live.state().address}/score", json={"input_data": ["hello"]}, headers=headers)

    assert answer.status_code == status
    assert hint in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"]


def test_the_guides_request_works_at_the_stable_address(live):
    body = {
        "input_data": ["Who founded Microsoft?"],
        "params": {"temperature": 0.7, "max_new_tokens": 8, "do_sample": True, "return_full_text": True},
    }

    answer = httpx.post(f"{live.state().address}/score", json=body, headers={"Authorization": f"Bearer {live.key()}"})

    assert answer.json()[0].startswith("Who founded Microsoft?")
    assert answer.headers["azureml-model-deployment"] == live.state().live().name


def test_servers_are_not_in_the_starters_session(live):
    pid = ServerProcess(live.folder, "router").pid()

    assert pid
    assert os.getsid(pid) != os.getsid(0)
