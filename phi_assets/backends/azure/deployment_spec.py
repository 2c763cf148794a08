"""A deployment as it should be: a name that says what it is made of, and the body that Azure takes."""

import hashlib
from dataclasses import dataclass
from typing import Any

from phi_assets.backends.azure import prices, serving_image
from phi_assets.backends.azure.clients import AzureClients
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
        """Which model answers under which name, by which code, on which machines."""
        model, of = self.model, self.machines
        parts = (self.endpoint, model.name, model.version, model.model_digest, serving_image.digest())
        numbers = (of.vm_size.lower(), of.instances, of.concurrency, of.request_seconds)
        return hashlib.sha256("\n".join((*parts, *map(str, numbers))).encode()).hexdigest()

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
        workspace, of = clients.resource("ml_workspace"), self.machines
        # A tag of Resource Manager's has at most 256 characters, fewer than the address of a run may have.
        longer = {name: value for name, value in self.facts.items() if name in LONG}
        tags = {name: value for name, value in self.facts.items() if name not in LONG}
        return {
            "location": clients.account.location,
            "sku": {"name": "Default", "capacity": of.instances},
            "tags": {**tags, "azd-env-name": clients.account.name},
            "properties": {
                "properties": longer,
                "endpointComputeType": "Managed",
                "model": f"{workspace}/models/{self.model.name}/versions/{self.model.version}",
                "environmentId": serving_image.id_in(workspace),
                "instanceType": of.vm_size,
                "scaleSettings": {"scaleType": "Default"},
                "requestSettings": {
                    "requestTimeout": f"PT{of.request_seconds}S",
                    "maxConcurrentRequestsPerInstance": of.concurrency,
                },
                "livenessProbe": {**LIVENESS, **SUCCESSES},
                "readinessProbe": {**READINESS, **SUCCESSES},
                "environmentVariables": self.variables,
            },
        }

    @property
    def variables(self) -> dict[str, str]:
        return {
            "SERVING_DEPLOYMENT": self.name,
            "SERVING_MODEL_NAME": self.model.name,
            "SERVING_MODEL_VERSION": self.model.version,
            "SERVING_MAX_CONCURRENCY": str(max(SERVER_CONCURRENCY, self.machines.concurrency)),
            "SERVING_MAX_QUEUE": str(max(SERVER_QUEUE, self.machines.concurrency)),
        }


def dollars_a_day(machines: Machines, location: str) -> float:
    """What the machines of one deployment cost. Raises UnknownSize."""
    return round(prices.price_per_hour(machines.vm_size, location) * HOURS_A_DAY * machines.instances, 2)


def record_of(endpoint: str, name: str, facts: dict[str, str], dollars: float, link: str) -> Deployment:
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
