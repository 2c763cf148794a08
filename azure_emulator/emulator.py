"""The emulator: holds the state of all services, starts and stops them."""

from __future__ import annotations

import os
import secrets
import sys
import threading
from pathlib import Path
from typing import Any

from azure_emulator.blob_storage.azurite import Azurite, SharedAzurite
from azure_emulator.blob_storage.blob_account import StorageAccount
from azure_emulator.blob_storage.blob_gate import BlobGate
from azure_emulator.clock import Clock
from azure_emulator.faults import Faults
from azure_emulator.identity import az_login, certificates
from azure_emulator.identity.identities import SUBSCRIPTION, TENANT, USER, Directory
from azure_emulator.identity.tokens import Tokens
from azure_emulator.machine_learning import online_deployments
from azure_emulator.machine_learning.clusters import Clusters
from azure_emulator.machine_learning.deployment_provisioning import DeploymentProvisioner
from azure_emulator.machine_learning.job_lifecycle import Jobs
from azure_emulator.request_log import RequestLog
from azure_emulator.resource_manager.authorization import Authorization
from azure_emulator.resource_manager.builtin_roles import role_id
from azure_emulator.resource_manager.evaluation import Evaluator
from azure_emulator.resource_manager.operations import Operations
from azure_emulator.resource_manager.providers import Providers
from azure_emulator.resource_manager.quota import Quota
from azure_emulator.resource_manager.resource_ids import name_of
from azure_emulator.resource_manager.resources import Resources
from azure_emulator.resource_manager.schemas import Schemas
from azure_emulator.resource_manager.skus import TOTAL, VmSize
from azure_emulator.resource_manager.soft_deleted import SoftDeleted
from azure_emulator.scoring.gateway import Gateway
from azure_emulator.scoring.live_endpoints import LiveEndpoints

SCOPE = f"/subscriptions/{SUBSCRIPTION}"


class Emulator:
    """An empty subscription with one Owner, and all services."""

    def __init__(self, folder: Path, scale: float = 1.0, azurite: Azurite | SharedAzurite | None = None) -> None:
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
        self.clusters = Clusters(self)
        self.jobs = Jobs(self)
        self.scoring = LiveEndpoints()
        self.gateway = Gateway(self)
        self.provisioner = DeploymentProvisioner(self)
        self.container_environment: dict[str, str] = {}
        self.soft_deleted = SoftDeleted()
        self.what_if_hangs = False
        self.subscription_state = "Enabled"
        self.subscription_tenant = TENANT
        self.taken_names: set[str] = set()
        self.unavailable_sizes: set[str] = set()
        self.secrets: dict[str, str] = {}
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
        az_login.install(folder)
        self.give_role(USER, "Owner", SCOPE)

    def start_runner(self, proxy: str) -> None:
        """Start the job runner."""
        from azure_emulator.jobs.runner import JobRunner

        self.container_environment = self.client_environment(proxy)
        # On Azure a job has the packages of its image; here it has those of this interpreter.
        self.runner = JobRunner(
            self.folder / "jobs",
            Path(sys.executable),
            self.blobs.store,
            self.authorization.allows,
            self.account_scope,
            self.tokens.issue,
            self.client_environment(proxy),
        )

    def client_environment(self, proxy: str) -> dict[str, str]:
        """Return the environment variables that direct Azure clients to this emulator."""
        authority = str(self.certificates.authority)
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": authority,
            "SSL_CERT_FILE": authority,
        }

    def storage_account(self, name: str) -> StorageAccount | None:
        for resource in self.resources.of_type("Microsoft.Storage/storageAccounts"):
            if resource.body["name"].lower() == name.lower():
                return StorageAccount(resource.id, resource.properties.get("allowSharedKeyAccess") is not False)
        return None

    def account_scope(self, name: str) -> str:
        """Return the storage account's resource id; if it does not exist, an id that no role covers."""
        account = self.storage_account(name)
        return account.scope if account else f"/none/{name}"

    def vcpus_in_use(self, quota: str, under: str = "", but: str = "") -> int:
        """Return the vCPUs of an Azure ML quota that clusters and deployments at or below `under` use.

        The deployment `but` is left out.
        """
        return self.clusters.vcpus_in_use(quota, under) + online_deployments.vcpus_in_use(self, quota, under, but)

    def exceeded_quota(self, size: VmSize, vcpus: int, but: str = "") -> tuple[int, int] | None:
        """Return limit and use of the first quota (family, then region) that cannot hold `vcpus` more, or None."""
        for name in (size.family, TOTAL):
            limit, used = self.quota.limit(name), self.vcpus_in_use(name, but=but)
            if used + vcpus > limit:
                return limit, used
        return None

    def give_role(self, oid: str, role: str, scope: str, delay: float | None = None) -> str:
        """Assign a role by name without an ARM request. Return the assignment's id."""
        id = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{role_id(role)[:8]}-{oid[9:]}"
        self.authorization.give(id, oid, role_id(role), scope, delay)
        return id

    def new_service_principal(self, name: str) -> dict[str, str]:
        """Create a principal with a client secret."""
        principal = self.directory.new_identity(name)
        self.secrets[principal.oid] = secrets.token_urlsafe(24)
        return {"oid": principal.oid, "client_id": principal.client_id or "", "secret": self.secrets[principal.oid]}

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

    def close(self) -> None:
        """End all processes and threads of the emulator."""
        self.closing.set()
        self.provisioner.close()
        self.scoring.kill_all()
        if self.runner:
            self.runner.close()
        self.clock.close()
        self.azurite.close()


def environment_path(folder: Path) -> str:
    """Return PATH with the stub `az` first."""
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
