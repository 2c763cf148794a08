"""Azure ML's own vCPU quota: what is needed, what is allowed, and, if PHI_AZURE_REQUEST_QUOTA is set, a request for
more.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from phi_assets.backends.azure.client import portal_links, rest
from phi_assets.backends.azure.client.azure_errors import refused
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.names import endpoint_name
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.infrastructure import prices, providers
from phi_assets.backends.azure.infrastructure.compute import nodes_now
from phi_assets.backends.azure.infrastructure.quota_request import request_more
from phi_assets.files import atomic_write
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.infrastructure import ComputeQuota
from phi_assets.records import Quota, Record, RecordUnreadable

USAGES = "providers/Microsoft.MachineLearningServices/locations/{location}/usages"
USAGES_VERSION = "2025-09-01"
REGION_TOTAL = "Total Cluster Dedicated Regional vCPUs"
FAMILY_SUFFIX = " Cluster Dedicated vCPUs"
# Azure ML reserves a fifth more for upgrades, and rounds up to whole machines; A100 is exempt.
# https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas#virtual-machine-quota-allocation-for-deployment
ENDPOINT_RESERVE = 1.2
STARTING_MINUTES = (
    15.0  # before the job's program runs, while the node starts and pulls the image, which is also billed
)


@dataclass(frozen=True)
class Usage:
    """One row of Azure ML's usages. A negative limit means that only the region's total applies."""

    limit: int
    used: int


@dataclass(frozen=True)
class Serving:
    """The vCPUs of quota that a live deployment uses, and their family."""

    family: str
    vcpus: int


class AzureQuota(ComputeQuota):
    """The quotas of the training machine's family, of the endpoint machine's family, and of the region."""

    decides: ClassVar = {
        "gpu_quota": Decides(
            modules=("azure.infrastructure.prices",),
            settings=(
                "azure_subscription_id",
                "azure_location",
                "azure_vm_size",
                "azure_nodes",
                "azure_endpoint_vm_size",
                "azure_endpoint_instances",
                "azure_max_job_cost",
                "azure_idle_minutes",
                "azure_request_quota",
                "max_train_minutes",
            ),
        ),
    }
    account: dict[str, str]
    vm_size: str
    nodes: int
    endpoint_vm_size: str
    max_job_cost: float
    max_train_minutes: float
    idle_minutes: float
    request: bool
    endpoint_instances: int = 1

    def ensure(self, log: Log) -> Quota:
        of = self._clients.account
        providers.ensure_registered(self._clients, ["Microsoft.MachineLearningServices"], log)
        quota = self._measured(log, requested="")
        if self.request and not all(_fits(need) for need in quota.needs):
            requested = "; ".join(
                request_more(self._clients, str(need["name"]), int(need["needed"]) + int(need["used"]), log)
                for need in quota.needs
                if not _fits(need)
            )
            quota = self._measured(log, requested)
        atomic_write(_file(of.folder, quota.digest), quota.to_json())
        return quota

    def measure(self, log: Log) -> Quota:
        """The quota that is needed, allowed and used now. Writes nothing, locally or on Azure."""
        return self._measured(log, requested="")

    def judge(self, quota: Quota) -> Mapping[str, CheckOutcome]:
        short = [need for need in quota.needs if not _fits(need)]
        described = "; ".join(self._shortage(need) for need in short) or "the quota is sufficient"
        by_setting = "" if self.request else "set PHI_AZURE_REQUEST_QUOTA=true, or "
        remedy = (
            f"Request more: {quota.portal} (provider Machine learning, region {quota.region}), or {by_setting}choose "
            "another PHI_AZURE_VM_SIZE or PHI_AZURE_LOCATION; then run again"
        )
        if short:
            described += f". {f'Requested: {quota.requested}. ' if quota.requested else ''}{remedy}"
        numbers = {str(need["name"]): f"{need['needed']} of {need['limit']}" for need in quota.needs}
        return {
            "enough_quota": CheckOutcome(not short, described, numbers, remedy if short else ""),
            "cost_within_ceiling": self._within_ceiling(quota),
        }

    def find(self, digest: str) -> Record | None:
        """The quota last measured in this home if it was sufficient; a shortage is measured again in every run.

        Where this home has measured none, it is measured now.
        """
        file = _file(self._clients.account.folder, digest)
        try:
            quota = Quota.load(file)
        except RecordUnreadable:
            return None
        if quota is None and digest == self._digest:
            quota = self.measure(log_to_run)
            atomic_write(file, quota.to_json())
        return quota if quota and all(outcome.passed for outcome in self.judge(quota).values()) else None

    def missing_reason(self, digest: str) -> str:
        del digest
        return "the quota was too small, or the cost ceiling too low, when last measured"

    def _within_ceiling(self, quota: Quota) -> CheckOutcome:
        passed = quota.dearest_job <= self.max_job_cost
        remedy = "" if passed else "raise PHI_AZURE_MAX_JOB_COST, or lower PHI_MAX_TRAIN_MINUTES"
        return CheckOutcome(
            passed,
            f"at most {quota.dearest_job:.2f} dollars: {self.nodes} x {self.vm_size} at {quota.dollars_an_hour:.2f} an "
            f"hour (price {prices.AS_OF}), {self.max_train_minutes:g} minutes of training (PHI_MAX_TRAIN_MINUTES), "
            f"starting and idling; PHI_AZURE_MAX_JOB_COST is {self.max_job_cost:g}"
            f"{': ' if remedy else ''}{remedy}",
            {"dollars": quota.dearest_job, "ceiling": self.max_job_cost},
            remedy,
        )

    def _shortage(self, need: Mapping[str, Any]) -> str:
        return (
            f"{need['name']} in {self._clients.account.location}: {need['needed']} vCPUs needed, "
            f"limit {need['limit']}, {need['used']} in use"
        )

    def _measured(self, log: Log, requested: str) -> Quota:
        of = self._clients.account
        usages, serving = _usages(self._clients, log), self._serving(log)
        nodes = nodes_now(self._clients) * self._train.vcpus
        needs = []
        for name, needed in self._needed(serving).items():
            found = usages.get(name.lower(), Usage(0, 0))
            own = sum(live.vcpus for live in serving if _counts(live.family, name))
            own += nodes if _counts(self._train.family, name) else 0
            needs.append({"name": name, "needed": needed, "limit": found.limit, "used": max(0, found.used - own)})
        hourly = prices.price_per_hour(self.vm_size, of.location) * self.nodes
        minutes = self.max_train_minutes + STARTING_MINUTES + self.idle_minutes
        return Quota(
            digest=self._digest,
            name=f"{self.nodes} x {self.vm_size}",
            region=of.location,
            needs=tuple(needs),
            requested=requested,
            dollars_an_hour=hourly,
            dearest_job=round(hourly * minutes / 60, 2),
            portal=portal_links.quota(),
        )

    def _needed(self, serving: Sequence[Serving] = ()) -> dict[str, int]:
        """The needed vCPUs by quota name: of the cluster, of the live deployment, and of its successor.

        Without a live deployment, one like its successor is assumed.
        """
        successor = Serving(
            prices.machine(self.endpoint_vm_size).family, reserved(self.endpoint_vm_size, self.endpoint_instances)
        )
        current = max(serving, key=lambda live: live.vcpus, default=successor)
        consumers = [Serving(self._train.family, self._train.vcpus * self.nodes), current, successor]
        names = [family + FAMILY_SUFFIX for family in (self._train.family, successor.family)]
        return {
            name: sum(each.vcpus for each in consumers if _counts(each.family, name)) for name in (*names, REGION_TOTAL)
        }

    def _serving(self, log: Log) -> list[Serving]:
        """This account's live deployments. One whose VM size is not in the price table counts as other usage."""
        ours = endpoint_name(self._clients.account)
        rows = [row for found, rows in rest.endpoints(self._clients, log) if found["name"] == ours for row in rows]
        sizes = [(str(rest.properties(row).get("instanceType")), row) for row in rows]
        return [
            Serving(prices.machine(size).family, reserved(size, int((row.get("sku") or {}).get("capacity") or 1)))
            for size, row in sizes
            if prices.is_known(size)
        ]

    @property
    def _train(self) -> prices.Machine:
        return prices.machine(self.vm_size)

    @property
    def _digest(self) -> str:
        of = self._clients.account
        content = f"{of.subscription_id}\n{of.location}\n{sorted(self._needed().items())}"
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)


def reserved(vm_size: str, instances: int) -> int:
    """The vCPUs of quota that a deployment of `instances` machines uses."""
    row = prices.machine(vm_size)
    reserve = 1.0 if row.family == prices.A100 else ENDPOINT_RESERVE
    return math.ceil(reserve * instances) * row.vcpus


def _counts(family: str, quota: str) -> bool:
    """Whether a machine of the family counts against the quota of this name."""
    return quota in (family + FAMILY_SUFFIX, REGION_TOTAL)


def _fits(need: Mapping[str, Any]) -> bool:
    return need["limit"] < 0 or need["needed"] <= need["limit"] - need["used"]


def _usages(clients_: AzureClients, log: Log) -> dict[str, Usage]:
    """Azure ML's usages of the subscription in the region, by title in lower case.

    Read from the REST API, because azure-ai-ml 1.35's `compute.list_usage` loses the numbers (its entity does not map
    the field `currentValue`). Rows of single workspaces and clusters, which have the same titles, are skipped.
    """
    from azure.core.exceptions import HttpResponseError

    of = clients_.account
    address = f"/subscriptions/{of.subscription_id}/{USAGES.format(location=of.location)}?api-version={USAGES_VERSION}"
    what = f"Azure ML's quota in {of.location}"
    try:
        rows = rest.rows(clients_, what, address, log)
    except HttpResponseError as e:
        raise refused(f"reading {what}", e) from e
    return {
        str(row["name"].get("localizedValue") or row["name"]["value"]).lower(): Usage(
            int(row["limit"]), int(row["currentValue"])
        )
        for row in rows
        if "/resourcegroups/" not in str(row.get("id")).lower()
    }


def _file(state: Path, digest: str) -> Path:
    return state / "quota" / f"{digest[:16]}.json"
