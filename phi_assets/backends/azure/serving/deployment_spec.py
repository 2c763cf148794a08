"""A deployment as it should be: a name that says what it is made of, and the body that Azure takes."""

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
SERVER_CONCURRENCY, SERVER_QUEUE = 8, 32  # of serving_code; more where the settings let more in


@dataclass(frozen=True)
class Machines:
    """What the settings say of the machines and of what they are asked."""

    vm_size: str
    instances: int
    concurrency: int
    request_seconds: int


@dataclass(frozen=True)
class WantedDeployment:
    """The model on these machines, behind the server of this project."""

    endpoint: str
    model: RegisteredModel
    machines: Machines

    @property
    def digest(self) -> str:
        """Which model answers under which name, by which code, on which machines, and everything else that Azure takes.

        The endpoint stands for the workspace: its name is of one only.
        """
        body = self._body("", "")
        body["properties"]["instanceType"] = self.machines.vm_size.lower()
        parts = [self.endpoint, self.model.model_digest, image.digest(), body]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """The same for the same deployment, whoever makes it and however often."""
        return f"m{self.model.version}-{self.digest[:DIGITS]}"

    @property
    def facts(self) -> dict[str, str]:
        """What the record is made of again, from Azure alone."""
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
        """The deployment as Azure takes it. It bears identities and addresses, never a key."""
        body = self._body(clients.resource("ml_workspace"), self.name)
        # A tag of Resource Manager's has at most 256 characters, fewer than the address of a run may have.
        tags = {name: value for name, value in self.facts.items() if name not in LONG}
        longer = {name: value for name, value in self.facts.items() if name in LONG}
        properties = {**body["properties"], "properties": longer}
        tags["azd-env-name"] = clients.account.name
        return {"location": clients.account.location, **body, "tags": tags, "properties": properties}

    def _body(self, workspace: str, name: str) -> dict[str, Any]:
        """All that decides how it serves, in this workspace and under this name."""
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
    """What the machines of one deployment cost; None where the size is not in the price table."""
    try:
        return round(prices.price_per_hour(vm_size, location) * HOURS_A_DAY * instances, 2)
    except prices.UnknownSize:
        return None


def record_of(endpoint: str, name: str, facts: Mapping[str, str], dollars: float, link: str) -> Deployment:
    """The record of a deployment of which Azure says these facts. Raises KeyError when it is not ours."""
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
