"""Provisions Azure ML: the deployed workspace, a cluster that scales to zero, and an environment named by its
content.
"""

import hashlib
from collections.abc import Mapping
from typing import ClassVar

from phi_assets.backends.azure.client import outputs
from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.infrastructure import compute, deployment, live_state, training_environment
from phi_assets.backends.azure.infrastructure.cloud_resources import record_of
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Decides
from phi_assets.ports.infrastructure import Provisioner
from phi_assets.records import CloudResource, Compute, Record, TrainingEnvironment, Workspace


class AzureProvisioner(Provisioner):
    """The Azure ML workspace, training cluster and training environment."""

    decides: ClassVar = {
        "ml_workspace": Decides(settings=SUBSCRIPTION),
        "training_compute": Decides(
            modules=("azure.infrastructure.compute",),
            settings=(*SUBSCRIPTION, "azure_vm_size", "azure_nodes", "azure_idle_minutes"),
        ),
        "training_environment": Decides(
            modules=("azure.infrastructure.training_environment", "azure.infrastructure.ml_environment"),
            settings=SUBSCRIPTION,
        ),
    }
    account: dict[str, str]
    purge_protection: bool
    vm_size: str
    nodes: int
    idle_minutes: int
    role_minutes: float

    def find(self, digest: str) -> Record | None:
        found = self._clients.outputs()
        if found is None:
            return None
        if digest == self._cluster.record.digest:
            body = compute.body(self._clients)
            return self._cluster.record if body and compute.is_as_wanted(self._clients, body, self._cluster) else None
        if digest == training_environment.digest():
            return training_environment.record() if training_environment.exists(self._clients) else None
        workspace = self._workspace(found)
        return workspace if workspace.digest == digest and not self._drift(found) else None

    def missing_reason(self, digest: str) -> str:
        found = self._clients.outputs()
        if found and self._workspace(found).digest == digest:
            return "it differs from the template: " + "; ".join(self._drift(found))
        return super().missing_reason(digest)

    def ensure_workspace(self) -> Workspace:
        found = self._clients.outputs()
        self._clients.resource("ml_workspace")  # raises NotDeployed
        assert found is not None
        drift = self._drift(found)
        if drift:
            # Only the deployment creates a workspace; it comes first in the graph, and repairs drift.
            deployment.ensure(self._clients, self.purge_protection, log_to_run)
            found = self._clients.outputs() or found
            drift = self._drift(found)
        if drift:
            raise AzureRefused(
                description=f"the workspace still differs from the template after a deployment: {'; '.join(drift)}"
            )
        return self._workspace(found)

    def ensure_compute(self) -> Compute:
        return compute.ensure(self._clients, self._cluster, log_to_run)

    def ensure_environment(self) -> TrainingEnvironment:
        return training_environment.ensure(self._clients, self.role_minutes, log_to_run)

    def resource(self, record: Workspace | Compute) -> CloudResource | None:
        found = self._clients.outputs()
        if found is None:
            return None
        if isinstance(record, Workspace):
            return record_of("ml_workspace", self._clients, found)
        return compute.resource(self._clients, self._cluster)

    def examine_compute(self) -> Mapping[str, CheckOutcome]:
        return compute.examine(self._clients, compute.body(self._clients), self._cluster)

    def differing_packages(self) -> list[str]:
        return training_environment.differing_packages()

    def _workspace(self, found: outputs.Outputs) -> Workspace:
        resource_id = found.resources["ml_workspace"]
        return Workspace(
            digest=hashlib.sha256(resource_id.lower().encode()).hexdigest(),
            name=resource_id.rpartition("/")[2],
            tracking_uri=f"azureml://{self._clients.account.location}.api.azureml.ms/mlflow/v1.0{resource_id}",
        )

    def _drift(self, found: outputs.Outputs) -> list[str]:
        wanted = deployment.wanted(self._clients, self.purge_protection)
        return live_state.drift(["ml_workspace"], live_state.read(self._clients, found), wanted)

    @property
    def _cluster(self) -> compute.Cluster:
        return compute.Cluster(self.vm_size, self.nodes, self.idle_minutes)

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)
