"""The packaged flow behind `pf flow serve`, with a real model server behind the flow."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from phi_assets.backends.azure.resources import SIGN_IN
from phi_assets.project import PROJECT
from phi_assets.prompt_flow.connections import CONNECTION, LocalConnections
from phi_assets.prompt_flow.environment import prompt_flow_environment
from phi_assets.prompt_flow.package import is_intact, package_flow
from phi_assets.prompt_flow.trial import prove_flow
from phi_assets.prompt_flow.virtual_environment import NAME, python
from tests.support.server_process import free_port, running
from tests.support.tiny_models import make_tiny_phi3

pytestmark = pytest.mark.integration

CHAT_FLOW = PROJECT / "flows" / "chat"
FLOW_PYTHON = python(PROJECT / NAME)
KEY = "the-key-of-the-endpoint-0123456789"


@pytest.fixture(scope="module")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with a tiny random model, deployed as green, version 3."""
    folder = tmp_path_factory.mktemp("model")
    make_tiny_phi3(folder)
    port = free_port()
    command = [sys.executable, "-m", "serving_code", "--model", str(folder), "--port", str(port)]
    command += ["--deployment", "green", "--model-name", "tiny", "--model-version", "3"]
    address = f"http://127.0.0.1:{port}"
    with running(command, {**os.environ, "SERVING_KEY": KEY, "PYTHONPATH": str(PROJECT)}, f"{address}/readyz"):
        yield address


@pytest.mark.guide("flow-serve")
def test_pf_flow_serve_on_the_packaged_flow_answers_as_in_the_guide(model_server, home, tmp_path):
    LocalConnections(home).ensure(CONNECTION, model_server, KEY)
    environment = prompt_flow_environment(home)
    folder, _ = package_flow(CHAT_FLOW, tmp_path / "packages", accept=lambda draft: prove_flow(draft, environment))
    port = free_port()
    command = ["pf", "flow", "serve", "--source", str(folder), "--port", str(port), "--host", "127.0.0.1"]
    with running([*command, "--skip-open-browser"], environment, f"http://127.0.0.1:{port}/health"):
        score = f"http://127.0.0.1:{port}/score"
        history = [{"inputs": {"question": "Hello!"}, "outputs": {"answer": "Hello! How can I help?"}}]
        alone = httpx.post(score, json={"question": "Who are you?", "chat_history": []}, timeout=60)
        after = httpx.post(
            score, json={"question": "Who are you?", "chat_history": history, "max_tokens": 5}, timeout=60
        )
        misspelt = httpx.post(score, json={"quesion": "Who are you?"}, timeout=60)
        empty = httpx.post(score, json={"question": " "}, timeout=60)
    for answered in (alone, after):
        assert answered.status_code == 200, answered.text
        assert isinstance(answered.json()["answer"], str)
        served_by = answered.json()["served_by"]
        assert (served_by["deployment"], served_by["model"], served_by["model_version"]) == ("green", "tiny", "3")
        assert served_by["request_id"]
    assert (misspelt.status_code, empty.status_code) == (400, 400)
    assert "'question'" in misspelt.json()["error"]["message"]
    assert "send a non-empty string" in empty.json()["error"]["message"]
    assert is_intact(folder)
    assert not {"__pycache__", ".promptflow"} & {path.name for path in folder.iterdir()}


@pytest.mark.long
def test_a_package_serves_itself_from_an_address_and_a_key(endpoint, home, tmp_path):
    folder, _ = package_flow(CHAT_FLOW, tmp_path / "packages")
    state, port = home / "prompt_flow", free_port()
    environment = {
        **os.environ,
        "PF_HOME_DIRECTORY": str(state),
        "ENDPOINT_ADDRESS": endpoint.address,
        "ENDPOINT_KEY": KEY,
        "PORT": str(port),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    endpoint.refuse(401, "wrong key")
    with running([str(FLOW_PYTHON), str(folder / "serve.py")], environment, f"http://127.0.0.1:{port}/health"):
        score = f"http://127.0.0.1:{port}/score"
        refused = httpx.post(score, json={"question": "Who are you?"}, timeout=60)
        answered = httpx.post(score, json={"question": "Who are you?"}, timeout=60)
    assert refused.status_code == 400
    assert "401: wrong key; the connection's key is not the endpoint's" in refused.json()["error"]["message"]
    assert answered.json()["answer"] == "1 messages, the last: Who are you?"
    assert endpoint.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"
    assert not [path for path in state.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.long
def test_a_package_serves_itself_to_an_endpoint_that_takes_entra_tokens_and_says_who_must_sign_in(
    endpoint, home, tmp_path
):
    folder, _ = package_flow(CHAT_FLOW, tmp_path / "packages", beside=[Path(SIGN_IN)])
    port = free_port()
    given = {"ENDPOINT_ADDRESS": endpoint.address, "ENDPOINT_AUTH": "aad_token", "PORT": str(port)}
    nobody = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "ENDPOINT_"))}
    state = {"PF_HOME_DIRECTORY": str(home / "prompt_flow"), "PATH": str(FLOW_PYTHON.parent)}
    environment = {**nobody, **state, **given, "PYTHONDONTWRITEBYTECODE": "1"}
    with running([str(FLOW_PYTHON), str(folder / "serve.py")], environment, f"http://127.0.0.1:{port}/health"):
        refused = httpx.post(f"http://127.0.0.1:{port}/score", json={"question": "Who are you?"}, timeout=60)
    assert "run `az login`" in refused.json()["error"]["message"]
    assert endpoint.requests == []


def test_a_package_without_an_address_says_which_variables_to_set(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENDPOINT_")}
    done = subprocess.run(
        [sys.executable, str(CHAT_FLOW / "serve.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "set ENDPOINT_ADDRESS and ENDPOINT_KEY" in done.stderr


def test_the_source_cannot_get_entra_tokens_and_says_what_can(tmp_path):
    environment = {**os.environ, "ENDPOINT_ADDRESS": "https://phi.example", "ENDPOINT_AUTH": "aad_token"}
    done = subprocess.run(
        [sys.executable, str(CHAT_FLOW / "serve.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "serve a flow packaged with PHI_BACKEND=azure" in done.stderr
