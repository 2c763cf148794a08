"""Runs one deployment in its own thread, resource by resource."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager import put_resource
from azure_emulator.resource_manager.references import needs, resolve
from azure_emulator.resource_manager.resource_ids import group_of, name_of
from azure_emulator.resource_manager.resources import Resource, now
from azure_emulator.state import EmulatorState

_TIMEOUT_SECONDS = 120.0
_UNDER_WAY = frozenset({"Creating", "Updating", "Accepted"})


class Cancelled(Exception):
    """The deployment was cancelled between two resources."""


@dataclass(frozen=True)
class _PendingResource:
    """A resource in creation and its row in the deployment's operations."""

    kept: put_resource.PutResult
    row: dict[str, Any]


class DeploymentRun:
    """Creates the resources of one deployment and updates its record."""

    def __init__(
        self,
        emulator: EmulatorState,
        oid: str,
        record: Resource,
        resources: list[dict[str, Any]],
        outputs: dict[str, Any],
        modules: list[str],
    ) -> None:
        self._emulator = emulator
        self._oid = oid
        self._record = record
        self._resources = resources
        self._outputs = outputs
        self._modules = modules
        self._made: list[str] = []

    def start(self) -> None:
        threading.Thread(target=self._work, name=f"deployment {self._record.body['name']}", daemon=True).start()

    def _work(self) -> None:
        properties, begun = self._record.properties, time.monotonic()
        properties["provisioningState"] = "Running"
        try:
            self._create_all()
            properties["outputs"] = _shown(resolve(self._outputs, self._emulator.resources))
            properties["outputResources"] = [{"id": id} for id in self._made]
            state = "Succeeded"
        except Cancelled:
            state = "Canceled"
        except AzureError as e:
            properties["error"] = {
                "code": "DeploymentFailed",
                "target": self._record.id,
                "message": "At least one resource deployment operation failed. Please list deployment operations for "
                "details. Please see https://aka.ms/arm-deployment-operations for usage details.",
                "details": [e.as_json()],
            }
            state = "Failed"
        self._keep_modules(state)
        properties["duration"] = f"PT{time.monotonic() - begun:.1f}S"
        properties["timestamp"] = now()
        properties["provisioningState"] = state

    def _create_all(self) -> None:
        """Create each resource once its dependencies exist. Stop at the first failure."""
        needed, done = needs(self._resources), set[str]()
        waiting = {resource["id"].lower(): resource for resource in self._resources}
        making: dict[str, _PendingResource] = {}
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while waiting or making:
            if self._record.hidden.get("cancelled") or self._emulator.closing.is_set():
                raise Cancelled
            if time.monotonic() > deadline:
                raise AzureError(504, "GatewayTimeout", f"{sorted(making)} did not finish in time.")
            for id in [id for id in waiting if needed[id] <= done]:
                making[id] = self._begin(waiting.pop(id))
            for id in [id for id, started in making.items() if started.kept.resource.state not in _UNDER_WAY]:
                self._finish(making.pop(id))
                done.add(id)
            time.sleep(0.02)

    def _begin(self, resource: dict[str, Any]) -> _PendingResource:
        row = self._operation(resource)
        try:
            body = resolve(resource, self._emulator.resources)
            kept = put_resource.put(self._emulator, self._oid, resource["id"], body, resource["apiVersion"])
        except AzureError as e:
            row.update(provisioningState="Failed", statusCode=str(e.status), statusMessage={"error": e.as_json()})
            raise
        return _PendingResource(kept, row)

    def _finish(self, made: _PendingResource) -> None:
        resource = made.kept.resource
        if resource.state == "Failed":
            error = resource.hidden.get("error") or {"code": "ResourceDeploymentFailure", "message": "failed"}
            made.row.update(provisioningState="Failed", statusCode="Conflict", statusMessage={"error": error})
            raise AzureError(409, error["code"], error["message"])
        self._made.append(resource.id)
        status = "Created" if made.kept.created else "OK"
        made.row.update(provisioningState="Succeeded", statusCode=status, statusMessage=None)

    def _operation(self, resource: dict[str, Any]) -> dict[str, Any]:
        rows = self._record.hidden.setdefault("operations", [])
        target = {"id": resource["id"], "resourceType": resource["type"], "resourceName": name_of(resource["id"])}
        row: dict[str, Any] = {
            "provisioningOperation": "Create",
            "provisioningState": "Running",
            "timestamp": now(),
            "duration": "PT0S",
            "targetResource": target,
        }
        rows.append({"operationId": f"{len(rows):016X}", "properties": row})
        return row

    def _keep_modules(self, state: str) -> None:
        group = next((group_of(r["id"]) for r in self._resources if group_of(r["id"])), None)
        if group is None or self._emulator.resources.find(group) is None:
            return
        for name in self._modules:
            body = {"properties": {"mode": "Incremental", "provisioningState": state, "timestamp": now()}}
            id = f"{group}/providers/Microsoft.Resources/deployments/{name}"
            self._emulator.resources.keep(id, body, self._oid, {})


def _shown(outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: {"type": _type(value), "value": value} for name, value in outputs.items()}


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "Bool"
    names = {str: "String", int: "Int", list: "Array", dict: "Object"}
    return names.get(type(value), "String")
