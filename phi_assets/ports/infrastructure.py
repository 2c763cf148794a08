"""Workspace, compute, packages and cloud resources that the graph uses."""

from abc import abstractmethod
from collections.abc import Mapping

from phi_assets import records
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Log, Port

DEPLOYED = (
    "resource_group",
    "storage_account",
    "key_vault",
    "application_insights",
    "container_registry",
    "managed_identity",
    "role_assignments",
)
"""The assets whose resources `CloudResources.ensure` returns."""
CHAT_DEPLOYED = ("chat_database", "chat_environment")
"""Those of the deployment that only the chat needs."""


class CloudResources(Port):
    """The resources that one template deployment creates in a cloud subscription, each an asset."""

    @abstractmethod
    def ensure(self, log: Log) -> Mapping[str, records.CloudResource]:
        """Return all resources by asset name. Deploys only if the template changed or the live state drifted."""

    @abstractmethod
    def planned(self) -> str:
        """Return the what-if forecast of this process's last deployment, or a note that there was none."""

    @abstractmethod
    def examine(self, asset: str) -> Mapping[str, CheckOutcome]:
        """Return the outcome of each live check of the asset, by check name."""


class ComputeQuota(Port):
    """The vCPU quota of the cloud subscription."""

    @abstractmethod
    def ensure(self, log: Log) -> records.Quota:
        """Return the vCPUs that are needed, allowed and in use. Requests more if the settings allow it."""

    @abstractmethod
    def judge(self, quota: records.Quota) -> Mapping[str, CheckOutcome]:
        """Return the outcome of each quota check, by check name."""


class Provisioner(Port):
    """Creates the workspace, compute and environment if they are missing."""

    @abstractmethod
    def ensure_workspace(self) -> records.Workspace:
        """Return the workspace that tracks runs and models; create it if it is missing."""

    @abstractmethod
    def ensure_compute(self) -> records.Compute:
        """Return the compute that training runs on."""

    @abstractmethod
    def ensure_environment(self) -> records.TrainingEnvironment:
        """Return the locked packages that training runs with."""

    def resource(self, record: records.Workspace | records.Compute) -> records.CloudResource | None:
        """Return the cloud resource behind the record, with its price and portal page; None on a laptop."""
        del record
        return None

    def examine_compute(self) -> Mapping[str, CheckOutcome]:
        """Return the outcome of each live check of the compute, by check name; empty on a laptop."""
        return {}

    @abstractmethod
    def differing_packages(self) -> list[str]:
        """Return a line for each package whose version differs from the lock file."""
