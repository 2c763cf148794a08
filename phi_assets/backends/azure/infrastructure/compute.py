"""The training cluster: AmlCompute that scales to zero nodes while idle, and runs jobs as the jobs' identity."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from phi_assets.backends.azure.client import portal_links, rest
from phi_assets.backends.azure.client.azure_errors import AzureRefused, GaveUp, cause_with_remedy, refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Log
from phi_assets.records import CloudResource, Compute

NAME = "training"
API_VERSION = "2024-10-01"
MINUTES = 20.0
POLL_SECONDS = 2.0
ENDED = frozenset({"Succeeded", "Failed", "Canceled"})


@dataclass(frozen=True)
class Cluster:
    """The settings of the cluster."""

    vm_size: str
    nodes: int
    idle_minutes: int

    @property
    def idle_seconds(self) -> int:
        return self.idle_minutes * 60

    @property
    def record(self) -> Compute:
        """The cluster's record. Its digest covers what training results depend on: the VM size, not the number of
        nodes.
        """
        row = prices.machine(self.vm_size)
        return Compute(
            digest=hashlib.sha256(f"{NAME}\n{self.vm_size.lower()}".encode()).hexdigest(),
            name=f"{NAME}: {self.vm_size}, 0 to {self.nodes} nodes",
            device=row.device,
            cores=row.vcpus,
            memory_gb=float(row.memory_gb),
        )


def ensure(clients: AzureClients, cluster: Cluster, log: Log) -> Compute:
    """Create or update the cluster; writes nothing if it matches the settings. Raises AzureRefused for another VM
    size.
    """
    from azure.core.exceptions import HttpResponseError

    found = body(clients)
    if found is not None and _state(found) not in ENDED:
        found = _settled(clients, log)
    if found is None or not is_as_wanted(clients, found, cluster):
        _refuse_other_size(clients, found, cluster)
        log(f"creating the cluster {NAME}: {cluster.vm_size}, 0 to {cluster.nodes} nodes")
        try:
            with_retries(f"creating the cluster {NAME}", lambda: _put(clients, cluster), log)
        except HttpResponseError as e:
            raise refused(f"creating the cluster {NAME} of {cluster.vm_size}", e) from e
        _settled(clients, log)
    return cluster.record


def body(clients: AzureClients) -> Mapping[str, Any] | None:
    """The cluster's body as Azure ML returns it; None when it does not exist."""
    return rest.get_or_none(clients, _id(clients), API_VERSION)


def is_as_wanted(clients: AzureClients, found: Mapping[str, Any], cluster: Cluster) -> bool:
    """Whether the live cluster is ready and matches the settings."""
    return all(outcome.passed for outcome in examine(clients, found, cluster).values())


def examine(clients: AzureClients, found: Mapping[str, Any] | None, cluster: Cluster) -> dict[str, CheckOutcome]:
    """The outcome of each live check of the cluster, by the check's name."""
    of = rest.properties(found) if found else {}
    inner = of.get("properties") or {}
    scale = inner.get("scaleSettings") or {}
    state = _state(found) if found else "it does not exist"
    size, minimum, maximum = str(inner.get("vmSize")), scale.get("minNodeCount"), scale.get("maxNodeCount")
    idle = _seconds(scale.get("nodeIdleTimeBeforeScaleDown"))
    identities = [name.lower() for name in ((found or {}).get("identity") or {}).get("userAssignedIdentities") or {}]
    own = clients.resource("managed_identity").lower() in identities
    return {
        "provisioned": CheckOutcome(state == "Succeeded", state),
        "machine": CheckOutcome(size.lower() == cluster.vm_size.lower(), f"{size}, wanted: {cluster.vm_size}"),
        "shrinks_to_nothing": CheckOutcome(
            (minimum, maximum, idle) == (0, cluster.nodes, cluster.idle_seconds),
            f"{minimum} to {maximum} nodes, each removed after {idle} s idle; wanted: 0 to {cluster.nodes}, "
            f"{cluster.idle_seconds} s",
        ),
        "identity": CheckOutcome(
            own, "runs as the jobs' identity" if own else f"runs as {identities or 'no identity'}"
        ),
    }


def resource(clients: AzureClients, cluster: Cluster) -> CloudResource:
    """The cluster as a cloud resource, with its price and portal page."""
    dollars, costs = prices.MONTHLY["training_compute"]
    hourly = prices.price_per_hour(cluster.vm_size, clients.account.location)
    return CloudResource(
        digest=cluster.record.digest,
        name=NAME,
        kind=f"{rest.WORKSPACES}/computes",
        address=_id(clients),
        region=clients.account.location,
        sku=cluster.vm_size,
        dollars_a_month=dollars,
        costs=f"{costs}; {hourly:g} an hour for each of up to {cluster.nodes} ({prices.DATED})",
        portal=portal_links.studio(clients.resource("ml_workspace"), f"compute/{NAME}/details"),
    )


def nodes_now(clients: AzureClients) -> int:
    """The current number of nodes, also of a cluster that another home created; 0 without a cluster."""
    found = rest.get_or_none(clients, f"{rest.workspace_id(clients)}/computes/{NAME}", API_VERSION)
    inner = rest.properties(found).get("properties") or {} if found else {}
    return int(inner.get("currentNodeCount") or 0)


def _put(clients: AzureClients, cluster: Cluster) -> None:
    computes = clients.ml().compute
    from azure.ai.ml.entities import AmlCompute, IdentityConfiguration, ManagedIdentityConfiguration

    identity = ManagedIdentityConfiguration(resource_id=clients.resource("managed_identity"))
    computes.begin_create_or_update(
        AmlCompute(
            name=NAME,
            location=clients.account.location,
            size=cluster.vm_size,
            tier="dedicated",
            min_instances=0,
            max_instances=cluster.nodes,
            idle_time_before_scale_down=cluster.idle_seconds,
            identity=IdentityConfiguration(type="user_assigned", user_assigned_identities=[identity]),
            ssh_public_access_enabled=False,
            tags={"azd-env-name": clients.account.name},
        )
    )


def _settled(clients: AzureClients, log: Log) -> Mapping[str, Any]:
    """Poll the cluster until it is provisioned, and return its body. Raises AzureRefused if provisioning failed."""
    began = time.monotonic()
    while True:
        found = body(clients)
        if found is not None and _state(found) in ENDED:
            break
        if time.monotonic() - began > MINUTES * 60:
            raise GaveUp(
                description=f"the cluster {NAME} is not ready after {MINUTES:g} minutes; see Azure ML "
                "Studio, and run again"
            )
        time.sleep(POLL_SECONDS)
    if _state(found) != "Succeeded":
        errors = rest.properties(found).get("provisioningErrors") or []
        reasons = [
            (str((e.get("error") or e).get("code", "")), str((e.get("error") or e).get("message", ""))) for e in errors
        ]
        raise AzureRefused(
            description=f"creating the cluster {NAME} failed: {cause_with_remedy(reasons)}", allow_retries=False
        )
    return found


def _refuse_other_size(clients: AzureClients, found: Mapping[str, Any] | None, cluster: Cluster) -> None:
    inner = rest.properties(found).get("properties") or {} if found else {}
    size = str(inner.get("vmSize") or cluster.vm_size)
    if size.lower() != cluster.vm_size.lower():
        workspace = clients.resource("ml_workspace").rpartition("/")[2]
        raise AzureRefused(
            description=f"the cluster {NAME} has VM size {size}, but PHI_AZURE_VM_SIZE is {cluster.vm_size}: Azure ML "
            f"cannot change it. Set PHI_AZURE_VM_SIZE back, or delete the cluster (az ml compute delete "
            f"--name {NAME} --workspace-name "
            f"{workspace} --resource-group {clients.account.group}), and run again",
            allow_retries=False,
        )


def _state(found: Mapping[str, Any]) -> str:
    return str(rest.properties(found).get("provisioningState"))


def _seconds(duration: Any) -> int | None:
    """Seconds of an ISO 8601 duration, such as PT5M; None for an invalid one."""
    try:
        return int(TypeAdapter(timedelta).validate_python(duration).total_seconds())
    except ValidationError:
        return None


def _id(clients: AzureClients) -> str:
    return f"{clients.resource('ml_workspace')}/computes/{NAME}"
