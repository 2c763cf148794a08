"""What a child process may know: each gets its groups of variables, and no secret that it does not need."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from phi_assets import child_environment
from phi_assets.backends.local import pipes_child
from phi_assets.backends.local.serving import servers
from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.project import PROJECT
from phi_assets.prompt_flow import environment as prompt_flow
from phi_assets.prompt_flow import virtual_environment

SECRETS = {
    "PHI_WEBHOOK": "https://hooks.example/secret",
    "HF_TOKEN": "hf_secret",
    "HUGGING_FACE_HUB_TOKEN": "hf_secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "OPENAI_API_KEY": "secret",
    "GITHUB_TOKEN": "secret",
    "PIP_INDEX_URL": "https://user:secret@index.example/simple",
    "https_proxy": "http://user:secret@proxy.example",
}
IDENTITY = {"AZURE_CLIENT_SECRET": "secret", "AZURE_CLIENT_ID": "a", "MSI_ENDPOINT": "b", "IDENTITY_HEADER": "c"}
USEFUL = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "0",
    "HF_HOME": "/somewhere",
    "SSL_CERT_FILE": "/ca.pem",
}
SHOW = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps(dict(os.environ)))"


@pytest.fixture(autouse=True)
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, **IDENTITY, **USEFUL}.items():
        monkeypatch.setenv(name, value)


def secrets_in(found: Mapping[str, str]) -> list[str]:
    return [name for name, value in found.items() if "secret" in value]


@pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")  # of the count of writers, which Pipes reads itself
def test_a_program_that_is_run_through_pipes_gets_no_secret(tmp_path):
    shown, program = tmp_path / "shown.json", tmp_path / "show.py"
    program.write_text(SHOW, encoding="utf-8")

    @dg.asset
    def shows(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        pipes_child.run_program(context, [str(program), str(shown)])
        return dg.MaterializeResult()

    assert dg.materialize([shows]).success
    found = json.loads(shown.read_text())

    assert secrets_in(found) == []
    assert not IDENTITY.keys() & found.keys()
    assert {name: found.get(name) for name in ("LC_ALL", "TZ", "OMP_NUM_THREADS", "HF_HOME")} == {
        name: USEFUL[name] for name in ("LC_ALL", "TZ", "OMP_NUM_THREADS", "HF_HOME")
    }
    assert {"PATH", "HOME", "PHI_LIFELINE", "DAGSTER_PIPES_CONTEXT", "GOMP_SPINCOUNT"} <= found.keys()
    assert found["PYTHONPATH"] == str(PROJECT)


def test_the_model_server_knows_its_key_and_the_router_does_not(tmp_path, monkeypatch):
    started: dict[str, dict[str, str]] = {}

    def start(self: ServerProcess, command: object, *, listener: object, environment: dict[str, str], cwd: Path):
        del command, listener, cwd
        started[self.name] = environment

    monkeypatch.setenv("SERVING_KEY", "of another server")
    monkeypatch.setattr(ServerProcess, "start", start)
    monkeypatch.setattr(servers, "await_ready", lambda *_, **__: None)
    deployment = servers.DeploymentState("blue", "/m", "phi", "1", "d", "c", 1)
    servers.start_router(ServerProcess(tmp_path, "router"), tmp_path, socket.create_server(("127.0.0.1", 0)))
    servers.start_deployment(
        ServerProcess(tmp_path, "blue"), deployment, "the key", socket.create_server(("127.0.0.1", 0)), ()
    )

    for environment in started.values():
        assert secrets_in(environment) == []
        assert not IDENTITY.keys() & environment.keys()
    assert started["blue"]["SERVING_KEY"] == "the key"
    assert started["blue"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert "SERVING_KEY" not in started["router"]


@pytest.mark.parametrize("signs_in", [False, True])
def test_prompt_flow_knows_how_to_sign_in_only_where_it_does(tmp_path, monkeypatch, signs_in):
    monkeypatch.setattr(virtual_environment, "ensure", lambda *_: tmp_path / "venv")

    found = prompt_flow.prompt_flow_environment(tmp_path, signs_in=signs_in)

    assert IDENTITY.keys() & found.keys() == (IDENTITY.keys() if signs_in else set())
    assert sorted(secrets_in(found)) == sorted([*(["AZURE_CLIENT_SECRET"] if signs_in else []), "https_proxy"])
    assert found["SSL_CERT_FILE"] == "/ca.pem"


def test_pip_knows_its_index_and_no_other_secret():
    found = child_environment.allowed(*child_environment.INSTALLATION)

    assert sorted(secrets_in(found)) == ["PIP_INDEX_URL", "https_proxy"]


def test_a_token_of_the_hub_is_passed_on_only_by_name():
    with_hub = child_environment.allowed(child_environment.HUB)
    with_token = child_environment.allowed(child_environment.HUB, child_environment.HUB_TOKENS)

    assert with_hub == {"HF_HOME": "/somewhere", "HF_HUB_OFFLINE": os.environ["HF_HUB_OFFLINE"]}
    assert with_token["HF_TOKEN"] == "hf_secret"


def test_dagster_s_own_processes_keep_what_a_user_s_definitions_may_read(monkeypatch):
    monkeypatch.setenv("PHI_LIFELINE", "1:2")

    found = child_environment.for_dagster({"DAGSTER_HOME": "/home"})

    assert found["GITHUB_TOKEN"] == "secret"
    assert found["DAGSTER_HOME"] == "/home"
    assert "PHI_LIFELINE" not in found


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """Run an HTTP proxy on loopback that answers every request itself; yield its address and the requests it saw."""
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    seen.append(connection.recv(4096).split(b"\r\n", 1)[0].decode())
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", seen


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_a_flow_s_request_goes_through_the_proxy_of_the_environment(monkeypatch, name):
    program = "import httpx; print(httpx.get('http://endpoint.example/v1/models').text)"
    monkeypatch.delenv("SSL_CERT_FILE")
    with proxy() as (address, seen):
        monkeypatch.setenv(name, address)
        environment = child_environment.allowed(*child_environment.PROMPT_FLOW)
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout.strip(), done.returncode) == ("{}", 0), done.stderr
    assert seen == ["GET http://endpoint.example/v1/models HTTP/1.1"]


def test_pip_goes_through_the_proxy_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SSL_CERT_FILE")
    with proxy() as (address, seen):
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("PIP_INDEX_URL", "http://index.example/simple")
        environment = child_environment.allowed(*child_environment.INSTALLATION)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries=0", "-d", str(tmp_path), "phi-none"]
        command.append("--trusted-host=index.example")
        subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)

    assert "GET http://index.example/simple/phi-none/ HTTP/1.1" in seen
