"""The emulator: the state of an emulated subscription, and the services that act on it."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from azure_emulator.blob_storage.azurite import Azurite, SharedAzurite
from azure_emulator.container_apps.front import Front
from azure_emulator.container_apps.revisions import ContainerApps
from azure_emulator.identity import az_login
from azure_emulator.identity.identities import SUBSCRIPTION, USER
from azure_emulator.machine_learning import online_deployments
from azure_emulator.machine_learning.clusters import Clusters
from azure_emulator.machine_learning.deployment_provisioning import DeploymentProvisioner
from azure_emulator.machine_learning.job_lifecycle import Jobs
from azure_emulator.resource_manager.builtin_roles import role_id
from azure_emulator.scoring.gateway import Gateway
from azure_emulator.state import EmulatorState

SCOPE = f"/subscriptions/{SUBSCRIPTION}"


class Emulator(EmulatorState):
    """An empty subscription with one Owner, and all services."""

    def __init__(self, folder: Path, scale: float = 1.0, azurite: Azurite | SharedAzurite | None = None) -> None:
        super().__init__(folder, scale, azurite)
        self.clusters = Clusters(self)
        self.jobs = Jobs(self)
        self.gateway = Gateway(self)
        self.container_apps = ContainerApps(self)
        self.front = Front(self)
        self.provisioner = DeploymentProvisioner(self)
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

    def vcpus_in_use(self, quota: str, under: str = "", but: str = "") -> int:
        return self.clusters.vcpus_in_use(quota, under) + online_deployments.vcpus_in_use(self, quota, under, but)

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

    def close(self) -> None:
        """End all processes and threads of the emulator."""
        self.closing.set()
        self.provisioner.close()
        self.scoring.kill_all()
        self.container_apps.kill_all()
        if self.runner:
            self.runner.close()
        self.clock.close()
        self.azurite.close()


def environment_path(folder: Path) -> str:
    """Return PATH with the stub `az` first."""
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
