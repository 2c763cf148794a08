"""The resources of infra/main.bicep as assets: read live, and deployed together."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.outputs import CHAT, NotDeployed, Outputs
from phi_assets.backends.azure.client.portal_links import link
from phi_assets.backends.azure.infrastructure import deployment, live_state
from phi_assets.backends.azure.infrastructure.prices import DATED, MONTHLY
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.infrastructure import CHAT_DEPLOYED, DEPLOYED, CloudResources
from phi_assets.records import CloudResource

DIFFERS = "it differs from the template: "


class AzureResources(CloudResources):
    """The resources that one deployment at subscription scope creates in one resource group."""

    decides: ClassVar = dict.fromkeys(
        DEPLOYED,
        Decides(
            modules=("azure.infrastructure.deployment", "azure.infrastructure.live_state"),
            programs=("infra/main.json",),
            settings=(*SUBSCRIPTION, "azure_access_mode", "azure_purge_protection"),
        ),
    )
    assets: ClassVar[Sequence[str]] = DEPLOYED
    part: ClassVar[str] = ""
    account: dict[str, str]
    purge_protection: bool = False

    def ensure(self, log: Log) -> Mapping[str, CloudResource]:
        deployed = self._deploy(log)
        _planned[self._clients.account.group_id + self.part] = deployed.planned
        return {name: record_of(name, self._clients, deployed.outputs) for name in self.assets}

    def _deploy(self, log: Log) -> deployment.Deployed:
        return deployment.ensure(self._clients, self.purge_protection, log)

    def planned(self) -> str:
        return _planned.get(self._clients.account.group_id + self.part, "nothing was deployed")

    def find(self, digest: str) -> CloudResource | None:
        name = self._named(digest)
        found = self._clients.outputs(self.part)
        if name is None or found is None or self._drift(name, found):
            return None
        return record_of(name, self._clients, found)

    def invalidate(self) -> None:
        live_state.forget()

    def missing_reason(self, digest: str) -> str:
        name = self._named(digest)
        found = self._clients.outputs(self.part)
        if name is None or found is None:
            return super().missing_reason(digest)
        return DIFFERS + "; ".join(line.partition(": ")[2] for line in self._drift(name, found))

    def examine(self, asset: str) -> Mapping[str, CheckOutcome]:
        found = self._clients.outputs(self.part)
        if found is None:
            raise NotDeployed(description=f"{asset} was not deployed; materialise it first")
        return live_state.examine(asset, live_state.read(self._clients, found), self._wanted)

    def _drift(self, name: str, found: Outputs) -> list[str]:
        return live_state.drift([name], live_state.read(self._clients, found), self._wanted)

    def _named(self, digest: str) -> str | None:
        found = self._clients.outputs(self.part)
        return next((name for name in self.assets if found and _digest(name, found) == digest), None)

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)

    @property
    def _wanted(self) -> live_state.Wanted:
        return deployment.wanted(self._clients, self.purge_protection)


_planned: dict[str, str] = {}


class AzureChatResources(AzureResources):
    """The resources that only the chat needs, in a deployment of their own: a refusal stops nothing else."""

    decides: ClassVar = dict.fromkeys(
        CHAT_DEPLOYED,
        Decides(
            modules=("azure.infrastructure.deployment", "azure.infrastructure.live_state"),
            programs=("infra/chat.json",),
            settings=SUBSCRIPTION,
        ),
    )
    assets: ClassVar[Sequence[str]] = CHAT_DEPLOYED
    part: ClassVar[str] = CHAT

    def _deploy(self, log: Log) -> deployment.Deployed:
        return deployment.ensure_chat(self._clients, log)


def record_of(name: str, clients_: AzureClients, found: Outputs) -> CloudResource:
    """The record of the resource that was deployed for an asset, with its live state."""
    dollars, costs = MONTHLY[name]
    address = _address(name, found)
    body = live_state.read(clients_, found).resources.get(name) or {}
    return CloudResource(
        digest=_digest(name, found),
        name=address.rpartition("/")[2] if name != "role_assignments" else f"{len(found.role_assignments)} roles",
        kind=rest.kind_of(address) if name != "role_assignments" else "roleAssignments",
        address=address,
        region=str(body.get("location") or clients_.account.location),
        sku=_sku(body),
        dollars_a_month=dollars,
        costs=f"{costs} ({DATED})",
        portal=link(address, "users" if name == "role_assignments" else "overview"),
    )


def _address(name: str, found: Outputs) -> str:
    return found.resources["resource_group" if name == "role_assignments" else name]


def _digest(name: str, found: Outputs) -> str:
    """SHA-256 of the asset's name and the resource's id only: a changed setting must not retrain a model."""
    return hashlib.sha256(f"{name}\n{_address(name, found).lower()}".encode()).hexdigest()


def _sku(body: Mapping[str, Any]) -> str:
    sku = body.get("sku") or rest.properties(body).get("sku") or {}
    return str(sku.get("name") or "")
