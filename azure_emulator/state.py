"""The state of one emulated subscription, and the interfaces of the services that act on it.

Request handlers and services take an `EmulatorState`; `emulator.Emulator` makes it whole with the services.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from azure_emulator.blob_storage.azurite import Azurite, SharedAzurite
from azure_emulator.blob_storage.blob_account import StorageAccount
from azure_emulator.blob_storage.blob_gate import BlobGate
from azure_emulator.clock import Clock
from azure_emulator.cosmos_db.containers import CosmosData
from azure_emulator.faults import Faults
from azure_emulator.identity import certificates
from azure_emulator.identity.identities import SUBSCRIPTION, TENANT, Directory
from azure_emulator.identity.tokens import Tokens
from azure_emulator.request_log import RequestLog
from azure_emulator.resource_manager.authorization import Authorization
from azure_emulator.resource_manager.evaluation import Evaluator
from azure_emulator.resource_manager.operations import Operations
from azure_emulator.resource_manager.providers import Providers
from azure_emulator.resource_manager.quota_limits import Quota
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.resource_manager.resources import Resource, Resources
from azure_emulator.resource_manager.schemas import Schemas
from azure_emulator.resource_manager.skus import TOTAL, VmSize
from azure_emulator.resource_manager.soft_deleted import SoftDeleted
from azure_emulator.scoring.live_endpoints import LiveEndpoints


class ClusterService(Protocol):
    """Nodes of AmlCompute clusters."""

    def take(self, cluster: Resource, job: str) -> bool: ...
    def give_back(self, cluster: str, job: str) -> None: ...
    def show(self, cluster: Resource) -> None: ...
    def forget(self, cluster: str) -> None: ...


class JobService(Protocol):
    """Submitted jobs and the images that they run in."""

    build_fails: bool

    def begin(self, job: Resource) -> None: ...
    def cancel(self, job: Resource) -> None: ...
    def forget(self, id: str) -> None: ...
    def ids_in(self, workspace: str) -> list[str]: ...
    def is_built(self, environment: str) -> bool: ...
    def mark_built(self, environment: str) -> None: ...


class ContainerAppService(Protocol):
    """Revisions of container apps."""

    images: dict[str, Path]

    def deploy(self, app: Resource) -> None: ...
    def at(self, host: str) -> tuple[Resource, str] | None: ...
    def is_known(self, host: str) -> bool: ...
    def address(self, revision: str) -> str | None: ...
    def log(self, revision: str) -> str: ...
    def stop(self, revision: str) -> None: ...
    def stop_all(self, app: str = "") -> None: ...
    def kill_all(self) -> None: ...


@dataclass
class ProvisioningFailed(Exception):
    """The error that ends a deployment's provisioning as Failed."""

    code: str
    message: str


class ProvisioningService(Protocol):
    """Provisioning of online deployments."""

    def start(self, deployment: Resource, done: Callable[[ProvisioningFailed | None], None]) -> None: ...


class EmulatorState(ABC):
    """An empty subscription, and what all services share."""

    clusters: ClusterService
    jobs: JobService
    container_apps: ContainerAppService
    provisioner: ProvisioningService

    def __init__(self, folder: Path, scale: float, azurite: Azurite | SharedAzurite | None) -> None:
        self.folder = folder
        self.closing = threading.Event()
        self.subscription, self.tenant = SUBSCRIPTION, TENANT
        self.clock = Clock(scale)
        self.directory = Directory()
        self.tokens = Tokens(folder)
        self.authorization = Authorization()
        self.resources = Resources()
        self.providers = Providers(self.clock)
        self.schemas = Schemas()
        self.operations = Operations()
        self.evaluator = Evaluator()
        self.quota = Quota()
        self.faults = Faults()
        self.log = RequestLog()
        self.scoring = LiveEndpoints()
        self.container_environment: dict[str, str] = {}
        self.soft_deleted = SoftDeleted()
        self.what_if_hangs = False
        self.subscription_state = "Enabled"
        self.subscription_tenant = TENANT
        self.taken_names: set[str] = set()
        self.unavailable_sizes: set[str] = set()
        self.secrets: dict[str, str] = {}
        self.cosmos = CosmosData()
        self.uploads: dict[str, bytes] = {}
        self.registry_builds = True
        self.vault_secrets: dict[str, dict[str, Any]] = {}
        self.certificates = certificates.make(folder / "tls")
        self.azurite = azurite or Azurite(folder / "azurite")
        self.blobs = BlobGate(
            folder,
            self.azurite,
            self.storage_account,
            self.authorization.allows,
            self.tokens.read,
            self.log.add,
            self.faults,
        )
        self.runner: Any = None

    @abstractmethod
    def vcpus_in_use(self, quota: str, under: str = "", but: str = "") -> int:
        """Return the vCPUs of an Azure ML quota that clusters and deployments at or below `under` use.

        The deployment `but` is left out.
        """

    def exceeded_quota(self, size: VmSize, vcpus: int, but: str = "") -> tuple[int, int] | None:
        """Return limit and use of the first quota (family, then region) that cannot hold `vcpus` more, or None."""
        for name in (size.family, TOTAL):
            limit, used = self.quota.limit(name), self.vcpus_in_use(name, but=but)
            if used + vcpus > limit:
                return limit, used
        return None

    def storage_account(self, name: str) -> StorageAccount | None:
        for resource in self.resources.of_type("Microsoft.Storage/storageAccounts"):
            if resource.body["name"].lower() == name.lower():
                return StorageAccount(resource.id, resource.properties.get("allowSharedKeyAccess") is not False)
        return None

    def account_scope(self, name: str) -> str:
        """Return the storage account's resource id; if it does not exist, an id that no role covers."""
        account = self.storage_account(name)
        return account.scope if account else f"/none/{name}"

    def identity_of(self, workspace: str) -> str:
        """Return the object id of a workspace's identity."""
        resource = self.resources.find(workspace)
        assert resource
        return resource.body["identity"]["principalId"]

    def name_is_taken(self, id: str) -> bool:
        """Return whether a name that must be unique in all of Azure is already taken."""
        type = id.split("/")[-2].lower()
        same = (r for r in self.resources.all() if r.id.split("/")[-2].lower() == type)
        return name_of(id).lower() in self.taken_names or any(
            r.body["name"].lower() == name_of(id).lower() for r in same
        )
