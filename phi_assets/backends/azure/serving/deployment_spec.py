"""The wanted deployment: a name derived from its content, and the request body for Azure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.serving import image
from phi_assets.records import Deployment, RegisteredModel

HOURS_A_DAY = 24
DIGITS = 16
# docs/decisions/0010-an-endpoint-is-changed-by-a-proven-deployment.md
LIVENESS = {"initialDelay": "PT30S", "period": "PT10S", "timeout": "PT5S", "failureThreshold": 12}
READINESS = {"initialDelay": "PT10S", "period": "PT10S", "timeout": "PT5S", "failureThreshold": 90}
LONG = frozenset({"training_run"})
SUCCESSES = {"successThreshold": 1}
SERVER_CONCURRENCY, SERVER_QUEUE = (
    32,
    32,
)  # serving_code's defaults; raised when the settings allow more concurrent requests


@dataclass(frozen=True)
class Machines:
    """The settings of the machines and of their requests."""

    vm_size: str
    instances: int
    concurrency: int
    request_seconds: int


@dataclass(frozen=True)
class WantedDeployment:
    """A deployment of this model on these machines, with this project's server."""

    endpoint: str
    model: RegisteredModel
    machines: Machines

    @property
    def digest(self) -> str:
        """SHA-256 over the model, its name, the code, the machines, and everything else in the request body.

        The endpoint's name stands for the workspace, to which it is unique.
        """
        body = self._body("", "")
        body["properties"]["instanceType"] = self.machines.vm_size.lower()
        parts = [self.endpoint, self.model.model_digest, image.digest(), body]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """The deployment's name, which is the same for the same content in every home and run."""
        return f"m{self.model.version}-{self.digest[:DIGITS]}"

    @property
    def facts(self) -> dict[str, str]:
        """The values from which the record is restored with Azure's state alone."""
        model = self.model
        return {
            "digest": self.digest,
            "model_name": model.name,
            "model_version": model.version,
            "model_digest": model.model_digest,
            "dataset_digest": model.dataset_digest,
            "training_run": model.training_run,
        }

    def body(self, clients: AzureClients) -> dict[str, Any]:
        """The request body of the deployment. It contains identities and addresses, never a key."""
        body = self._body(clients.resource("ml_workspace"), self.name)
        # A tag has at most 256 characters in Azure Resource Manager, and a run's address may be longer.
        tags = {name: value for name, value in self.facts.items() if name not in LONG}
        longer = {name: value for name, value in self.facts.items() if name in LONG}
        properties = {**body["properties"], "properties": longer}
        tags["azd-env-name"] = clients.account.name
        return {"location": clients.account.location, **body, "tags": tags, "properties": properties}

    def _body(self, workspace: str, name: str) -> dict[str, Any]:
        """Everything that determines how it serves, in this workspace and under this name."""
        of = self.machines
        return {
            "sku": {"name": "Default", "capacity": of.instances},
            "properties": {
                "endpointComputeType": "Managed",
                "model": f"{workspace}/models/{self.model.name}/versions/{self.model.version}",
                "environmentId": image.id_in(workspace),
                "instanceType": of.vm_size,
                "scaleSettings": {"scaleType": "Default"},
                "requestSettings": {
                    "requestTimeout": f"PT{of.request_seconds}S",
                    "maxConcurrentRequestsPerInstance": of.concurrency,
                },
                "livenessProbe": {**LIVENESS, **SUCCESSES},
                "readinessProbe": {**READINESS, **SUCCESSES},
                "environmentVariables": self._variables(name),
            },
        }

    def _variables(self, name: str) -> dict[str, str]:
        return {
            "SERVING_DEPLOYMENT": name,
            "SERVING_MODEL_NAME": self.model.name,
            "SERVING_MODEL_VERSION": self.model.version,
            "SERVING_MAX_CONCURRENCY": str(max(SERVER_CONCURRENCY, self.machines.concurrency)),
            "SERVING_MAX_QUEUE": str(max(SERVER_QUEUE, self.machines.concurrency)),
        }


def dollars_a_day(vm_size: str, instances: int, location: str) -> float | None:
    """US dollars a day for the machines of one deployment; None when the VM size is not in the price table."""
    try:
        return round(prices.price_per_hour(vm_size, location) * HOURS_A_DAY * instances, 2)
    except prices.UnknownSize:
        return None


def record_of(endpoint: str, name: str, facts: Mapping[str, str], dollars: float, link: str) -> Deployment:
    """The record of a deployment with these facts. Raises KeyError when this project did not create it."""
    return Deployment(
        digest=facts["digest"],
        endpoint=endpoint,
        name=name,
        model_name=facts["model_name"],
        model_version=facts["model_version"],
        model_digest=facts["model_digest"],
        dataset_digest=facts["dataset_digest"],
        training_run=facts["training_run"],
        dollars_a_day=dollars,
        portal=link,
    )
