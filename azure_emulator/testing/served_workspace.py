"""A workspace with a registered model and a serving image, for the tests of endpoints."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    BuildContext,
    Environment,
    IdentityConfiguration,
    ManagedIdentityConfiguration,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
    ProbeSettings,
)

from azure_emulator.identity.identities import LOCATION
from azure_emulator.process import LocalAzure
from azure_emulator.testing import clients

INFERENCE = {
    "liveness_route": {"port": 5001, "path": "/livez"},
    "readiness_route": {"port": 5001, "path": "/readyz"},
    "scoring_route": {"port": 5001, "path": "/"},
}
DOCKERFILE = """
FROM mcr.microsoft.com/azureml/minimal-ubuntu24.04-py311-cpu-inference
ENV PYTHONPATH=/srv \\
    SERVING_PORT=5001
WORKDIR /srv
COPY app ./app
# RUN is Azure's affair
RUN pip install nothing
CMD ["python", "-m", "app.main", "--host", "0.0.0.0", "--port", "5001"]
"""
# Answers with what it was asked and what it found, so that a test sees both sides.
SERVER = """
import json, os, pathlib, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.say(200 if self.path != "/readyz" or os.environ.get("READY") != "never" else 503, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = json.loads(body or b"{}")
        print("asked", self.path, flush=True)
        if self.path == "/stream":
            return self.stream()
        time.sleep(asked.get("sleep", 0))
        model = pathlib.Path(os.environ["AZUREML_MODEL_DIR"])
        files = {str(p.relative_to(model)): p.read_text() for p in model.rglob("*") if p.is_file()}
        names = {n.lower() for n in self.headers}
        answer = {"path": self.path, "asked": asked, "headers": sorted(names), "model": files, "pid": os.getpid(),
                  "environment": dict(os.environ), "arguments": sys.argv[1:],
                  "choices": [{"message": {"content": "right"}}]}
        self.say(asked.get("status", 200), answer)

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in ("data: one", "data: two", "data: [DONE]"):
            data = (piece + "\\n\\n").encode()
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(data), data))
            self.wfile.flush()
            time.sleep(0.2)
        self.wfile.write(b"0\\r\\n\\r\\n")

    def say(self, status, answer):
        data = json.dumps(answer).encode() if status not in (204, 304) else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass

if os.environ.get("CRASH"):
    sys.exit("no model to serve")
host, port = sys.argv[2], int(sys.argv[4])
assert os.environ["SERVING_PORT"] == str(port)
print("serving", flush=True)
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer((host, port), Handler).serve_forever()
"""


@dataclass
class Serving:
    """The workspace, and what a deployment of it is made of."""

    azure: LocalAzure
    ml: MLClient
    outputs: dict[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        return self.azure.control.resource(self.outputs["resources"]["managed_identity"])["properties"]  # type: ignore[index]

    @property
    def workspace(self) -> str:
        return self.outputs["resources"]["ml_workspace"]

    def id_of(self, endpoint: str, deployment: str | None = None) -> str:
        id = f"{self.workspace}/onlineEndpoints/{endpoint}"
        return f"{id}/deployments/{deployment}" if deployment else id

    def endpoint(self, name: str, **more: Any) -> ManagedOnlineEndpoint:
        identity = ManagedIdentityConfiguration(resource_id=self.outputs["resources"]["managed_identity"])
        given = {"identity": IdentityConfiguration(type="user_assigned", user_assigned_identities=[identity]), **more}
        return ManagedOnlineEndpoint(name=name, auth_mode=given.pop("auth_mode", "key"), **given)

    def deployment(self, name: str, endpoint: str, **more: Any) -> ManagedOnlineDeployment:
        probe = ProbeSettings(initial_delay=1, period=1, failure_threshold=5, timeout=2)
        given = {
            "model": "azureml:phi-chat:1",
            "environment": "azureml:phi-serving:1",
            "instance_type": "Standard_E4s_v3",
            "instance_count": 1,
            "request_settings": OnlineRequestSettings(request_timeout_ms=2000, max_concurrent_requests_per_instance=3),
            "liveness_probe": probe,
            "readiness_probe": probe,
            **more,
        }
        return ManagedOnlineDeployment(name=name, endpoint_name=endpoint, **given)

    def make(self, endpoint: str, **more: Any) -> None:
        self.ml.online_endpoints.begin_create_or_update(self.endpoint(endpoint, **more)).result()

    def deploy(self, name: str, endpoint: str, **more: Any) -> None:
        self.ml.online_deployments.begin_create_or_update(self.deployment(name, endpoint, **more)).result()

    def shift(self, endpoint: str, **traffic: int) -> None:
        asked = self.ml.online_endpoints.get(endpoint)
        asked.traffic = traffic
        self.ml.online_endpoints.begin_create_or_update(asked).result()

    def key(self, endpoint: str) -> str:
        return self.ml.online_endpoints.get_keys(endpoint).primary_key  # type: ignore[return-value,union-attr]

    def ask(self, endpoint: str, path: str = "/score", body: Any = None, **headers: str) -> httpx.Response:
        """One request with the endpoint's key, unless headers say otherwise."""
        given = {"Authorization": f"Bearer {self.key(endpoint)}"} if "Authorization" not in headers else {}
        sent = {**given, **{name.replace("_", "-"): value for name, value in headers.items()}}
        url = f"https://{endpoint}.{LOCATION}.inference.ml.azure.com{path}"
        return httpx.post(url, json=body or {}, headers=sent, timeout=30)


def serving(azure: LocalAzure, folder: Path) -> Serving:
    """A new workspace with the image and the model registered."""
    clients.register()
    for namespace in ("Microsoft.PolicyInsights", "Microsoft.Cdn"):
        azure.control.set_provider(namespace, "Registered")
    outputs = clients.deploy()
    made = Serving(azure, clients.ml(outputs), outputs)
    context(folder / "context")
    register_image(made, "phi-serving", folder / "context")
    (folder / "model" / "weights").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "weights" / "one.bin").write_text("learnt")
    model = Model(name="phi-chat", version="1", type="custom_model", path=str(folder / "model"))
    made.ml.models.create_or_update(model)
    return made


def context(folder: Path, dockerfile: str = DOCKERFILE) -> Path:
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "__init__.py").touch()
    (folder / "app" / "main.py").write_text(textwrap.dedent(SERVER))
    (folder / "Dockerfile").write_text(dockerfile)
    return folder


def register_image(made: Serving, name: str, folder: Path, **more: Any) -> None:
    given = {"inference_config": INFERENCE, **more}
    made.ml.environments.create_or_update(Environment(name=name, version="1", build=BuildContext(path=folder), **given))


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)
