"""The laptop's endpoint: a router on a stable port of 127.0.0.1, and deployments behind it as server processes."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from phi_assets.backends import content_store
from phi_assets.backends.local.serving.home_endpoint import NAME, REMEDY, endpoint_of_home
from phi_assets.errors import EndpointDown
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.serving import EndpointHost
from phi_assets.records import Deployment, Endpoint, OptimizedModel, Record, RegisteredModel

if TYPE_CHECKING:
    from phi_assets.backends.local.serving.endpoint import LocalEndpoint
    from phi_assets.backends.local.serving.state import DeploymentState, EndpointState

FULL = "full"
SERVERS = tuple(f"local.serving.{name}" for name in ("endpoint", "servers", "state", "router", "processes"))
"""The modules of both assets, without `phi_assets.backends.`."""


class LocalEndpointHost(EndpointHost):
    """Deploys to servers that outlive the run; `phi down` stops them, `phi run` starts them again."""

    decides: ClassVar = {
        "online_endpoint": Decides(modules=SERVERS),
        "online_deployment": Decides(modules=SERVERS, programs=("serving_code",), settings=("quantize",)),
    }
    state: str
    keep_answers_days: float = 0
    traces: str = ""

    @property
    def remedy(self) -> str:
        return REMEDY

    @property
    def keeps_answers(self) -> bool:
        return self.keep_answers_days > 0

    def ensure_endpoint(self, log: Log) -> Endpoint:
        endpoint = _endpoint(self._endpoint.ensure())
        log(f"{endpoint.name} listens on {endpoint.address}")
        return endpoint

    def deploy(self, model: RegisteredModel, log: Log, optimized: OptimizedModel | None = None) -> Deployment:
        from phi_assets.endpoint_client import smoke_test

        def smoke(address: str, key: str, deployment: str) -> None:
            smoke_test(address, key, deployment, model.name, model.version)

        form = optimized.form if optimized else FULL
        if optimized and optimized.note:
            log(optimized.note)
        deployed = self._endpoint.deploy(
            Path(optimized.address if optimized and form != FULL else model.address),
            model_name=model.name,
            model_version=model.version,
            model_digest=model.model_digest,
            form=form,
            smoke=smoke,
            log=log,
        )
        record = Deployment(
            digest=_digest(deployed),
            endpoint=NAME,
            name=deployed.name,
            model_name=model.name,
            model_version=model.version,
            model_digest=model.model_digest,
            dataset_digest=model.dataset_digest,
            training_run=model.training_run,
            form=form,
        )
        folder = content_store.place(self._records, record.digest)
        folder.mkdir(parents=True, exist_ok=True)
        content_store.put(record, folder)
        return record

    def find(self, digest: str) -> Record | None:
        state = self._endpoint.state()
        if state is None:
            return None
        endpoint = _endpoint(state)
        if endpoint.digest == digest:
            return endpoint
        live = state.live()
        if live is None or _digest(live) != digest:
            return None
        return content_store.find(self._records, digest, lambda _: _has_weights(Path(live.model_dir)))

    def key(self) -> str:
        return self._endpoint.key()

    def start(self, log: Log) -> None:
        from phi_assets.backends.local.serving.servers import EndpointError

        try:
            self._endpoint.start(log)
        except EndpointError as e:
            raise EndpointDown(str(e)) from e

    def stop(self, log: Log) -> None:
        self._endpoint.stop(log)

    def status(self) -> dict[str, Any]:
        return self._endpoint.status()

    @cached_property
    def _endpoint(self) -> "LocalEndpoint":
        return endpoint_of_home(Path(self.state), self.keep_answers_days, self.traces)

    @property
    def _records(self) -> Path:
        return Path(self.state) / "deployments"


def _endpoint(state: "EndpointState") -> Endpoint:
    digest = hashlib.sha256(f"{NAME}\n{state.address}".encode()).hexdigest()
    return Endpoint(digest=digest, name=NAME, address=state.address)


def _has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("model.safetensors", "model.onnx"))


def _digest(deployed: "DeploymentState") -> str:
    """SHA-256 over the model, its form and the serving code; neither the colour nor the port counts."""
    parts = [deployed.model_name, deployed.model_version, deployed.model_digest, deployed.code_digest]
    if deployed.form != FULL:
        parts += [deployed.form, deployed.model_dir]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
