"""AmlCompute clusters: scale up for waiting jobs and down when idle, within quota and capacity."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager import skus
from azure_emulator.resource_manager.linked_access import require_assignable
from azure_emulator.resource_manager.resource_ids import is_within
from azure_emulator.resource_manager.resource_types import Put
from azure_emulator.resource_manager.resources import Resource, now
from azure_emulator.state import EmulatorState

_NODE_SECONDS = 1.0
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def seconds_of(duration: str | None) -> float | None:
    """Return the seconds of an ISO 8601 duration such as PT2H30M, or None."""
    if duration is None:
        return None
    found = _DURATION.fullmatch(duration)
    if not found or not any(found.groups()):
        raise AzureError(400, "UserError", f"'{duration}' is not an ISO 8601 duration.")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def complete(put: Put) -> None:
    """Check a cluster and add Azure's defaults."""
    asked = put.properties
    if asked.get("computeType") != "AmlCompute":
        raise AzureError(400, "BadRequest", f"The local Azure makes AmlCompute only, not '{asked.get('computeType')}'.")
    inner = asked.setdefault("properties", {})
    size = skus.find(str(inner.get("vmSize")))
    if size is None or size.name.lower() in put.emulator.unavailable_sizes:
        raise AzureError(
            400,
            "SkuNotAvailable",
            f"The requested VM size '{inner.get('vmSize')}' is not available in location '{put.body['location']}'. "
            "Please try another size or location.",
            target="vmSize",
        )
    scale = inner.setdefault("scaleSettings", {})
    minimum, maximum = int(scale.get("minNodeCount") or 0), int(scale.get("maxNodeCount") or 0)
    if maximum < 1 or minimum > maximum:
        raise AzureError(
            400, "BadRequest", f"scaleSettings: minNodeCount {minimum} and maxNodeCount {maximum} are invalid."
        )
    _require_quota_for_minimum(put.emulator, size, minimum)
    _resolve_identities(put)
    before = put.old.properties["properties"] if put.old else {}
    if put.old and str(before.get("vmSize")).lower() != size.name.lower():
        raise AzureError(400, "BadRequest", "The VM size of a cluster cannot be changed: delete it and make a new one.")
    inner.setdefault("vmPriority", "Dedicated")
    inner.setdefault("osType", "Linux")
    scale["minNodeCount"], scale["maxNodeCount"] = minimum, maximum
    scale.setdefault("nodeIdleTimeBeforeScaleDown", "PT120S")
    for key in ("allocationState", "currentNodeCount", "targetNodeCount", "nodeStateCounts", "errors"):
        if key in before:
            inner[key] = before[key]
    put.default(computeLocation=put.body["location"], provisioningErrors=None, isAttachedCompute=False)
    put.properties["createdOn"] = put.stored_or_new("createdOn", now)


def _require_quota_for_minimum(emulator: EmulatorState, size: skus.VmSize, minimum: int) -> None:
    for name in (size.family, skus.TOTAL):
        limit = emulator.quota.limit(name)
        if minimum * size.vcpus > limit:
            raise AzureError(
                400,
                "ClusterMinNodesExceedCoreQuota",
                f"The specified subscription has a {skus.TITLES[name]} quota of {limit} and cannot accomodate for at "
                f"least {minimum} requested managed compute node which maps to {minimum * size.vcpus} vCPUs.",
            )


def _resolve_identities(put: Put) -> None:
    identity = put.body.get("identity") or {}
    named = identity.get("userAssignedIdentities") or {}
    for id in named:
        resource = put.emulator.resources.find(id)
        if resource is None:
            raise AzureError(400, "FailedIdentityOperation", f"The user-assigned identity '{id}' was not found.")
        require_assignable(put.emulator, put.oid, id)
        shown = {key: resource.properties[key] for key in ("principalId", "clientId")}
        named[id] = shown


def settle(emulator: EmulatorState, cluster: Resource) -> None:
    inner = cluster.properties["properties"]
    inner.setdefault("allocationState", "Steady")
    inner.setdefault("errors", [])
    cluster.properties["modifiedOn"] = now()
    emulator.clusters.show(cluster)


def dropped(emulator: EmulatorState, cluster: Resource) -> None:
    emulator.clusters.forget(cluster.id)


@dataclass
class _Nodes:
    """A cluster's nodes: busy ones by job, and the times since which the others are idle."""

    busy: dict[str, float] = field(default_factory=dict)
    idle: list[float] = field(default_factory=list)
    coming: int = 0

    @property
    def count(self) -> int:
        return len(self.busy) + len(self.idle)


class Clusters:
    """Allocates nodes to jobs. With `capacity` False no new node is allocated."""

    def __init__(self, emulator: EmulatorState) -> None:
        self._emulator = emulator
        self._lock = threading.RLock()
        self._nodes: dict[str, _Nodes] = {}
        self.capacity = True

    def take(self, cluster: Resource, job: str) -> bool:
        """Return whether the job got a node. Otherwise request a node; the job tries again later."""
        with self._lock:
            nodes = self._nodes.setdefault(cluster.id.lower(), _Nodes())
            if nodes.idle:
                nodes.idle.pop()
                nodes.busy[job] = time.monotonic()
                self.show(cluster)
                return True
            self._grow(cluster, nodes)
            return False

    def give_back(self, cluster_id: str, job: str, lost: bool = False) -> None:
        """Release the job's node, which becomes idle, or is removed if it was lost."""
        with self._lock:
            nodes = self._nodes.get(cluster_id.lower())
            cluster = self._emulator.resources.find(cluster_id)
            if nodes is None or cluster is None or nodes.busy.pop(job, None) is None:
                return
            if not lost:
                nodes.idle.append(time.monotonic())
                idle = cluster.properties["properties"]["scaleSettings"]["nodeIdleTimeBeforeScaleDown"]
                self._emulator.clock.after(seconds_of(idle) or 120.0, lambda: self._shrink(cluster))
            self.show(cluster)

    def vcpus_in_use(self, quota: str, under: str) -> int:
        """Return the vCPUs of a quota that nodes of clusters at or below an id use."""
        total = 0
        with self._lock:
            for id, nodes in self._nodes.items():
                cluster = self._emulator.resources.find(id)
                size = skus.find(cluster.properties["properties"]["vmSize"]) if cluster else None
                if size and size.counts_as(quota) and is_within(id, under):
                    total += nodes.count * size.vcpus
        return total

    def forget(self, id: str) -> None:
        with self._lock:
            self._nodes.pop(id.lower(), None)

    def show(self, cluster: Resource) -> None:
        """Write the current node counts into the cluster's resource."""
        with self._lock:
            nodes = self._nodes.setdefault(cluster.id.lower(), _Nodes())
            # A PUT may have replaced the resource.
            inner = (self._emulator.resources.find(cluster.id) or cluster).properties["properties"]
            inner["currentNodeCount"] = nodes.count
            inner["targetNodeCount"] = nodes.count + nodes.coming
            inner["allocationState"] = "Resizing" if nodes.coming else "Steady"
            inner["nodeStateCounts"] = {
                "idleNodeCount": len(nodes.idle),
                "runningNodeCount": len(nodes.busy),
                "preparingNodeCount": nodes.coming,
                "unusableNodeCount": 0,
                "leavingNodeCount": 0,
                "preemptedNodeCount": 0,
            }
            inner["allocationStateTransitionTime"] = now()

    def _grow(self, cluster: Resource, nodes: _Nodes) -> None:
        inner = cluster.properties["properties"]
        size = skus.find(inner["vmSize"])
        assert size
        if nodes.coming or nodes.count >= inner["scaleSettings"]["maxNodeCount"]:
            return
        refusal = self._refusal(size)
        inner["errors"] = [refusal] if refusal else []
        if refusal:
            return
        nodes.coming += 1
        self.show(cluster)
        self._emulator.clock.after(_NODE_SECONDS, lambda: self._arrive(cluster, nodes))

    def _refusal(self, size: skus.VmSize) -> dict[str, Any] | None:
        short = self._emulator.exceeded_quota(size, size.vcpus)
        if short:
            limit, used = short
            message = (
                f"Operation results in exceeding quota limits of Core. Maximum allowed: {limit}, Current in use: "
                f"{used}, Additional requested: {size.vcpus}."
            )
            return {"error": {"code": "ClusterCoreQuotaReached", "message": message}}
        if not self.capacity:
            message = (
                f"Azure does not have enough capacity of {size.name} in this region to allocate the requested nodes. "
                "Please try again later."
            )
            return {"error": {"code": "AllocationFailed", "message": message}}
        return None

    def _arrive(self, cluster: Resource, nodes: _Nodes) -> None:
        with self._lock:
            nodes.coming -= 1
            nodes.idle.append(time.monotonic())
            self.show(cluster)

    def _shrink(self, cluster: Resource) -> None:
        with self._lock:
            nodes = self._nodes.get(cluster.id.lower())
            if nodes is None:
                return
            settings = cluster.properties["properties"]["scaleSettings"]
            wait = (seconds_of(settings["nodeIdleTimeBeforeScaleDown"]) or 120.0) * self._emulator.clock.scale
            old = [since for since in nodes.idle if time.monotonic() - since >= wait * 0.99]
            for since in old[: max(0, nodes.count - settings["minNodeCount"])]:
                nodes.idle.remove(since)
            self.show(cluster)
