"""Template deployments at a subscription or resource group: evaluate, check, then create each resource."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from typing import Any

from azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call, object_of
from azure_emulator.resource_manager import put_resource
from azure_emulator.resource_manager.deployment_run import DeploymentRun
from azure_emulator.resource_manager.evaluation import digest
from azure_emulator.resource_manager.operations import Progress
from azure_emulator.resource_manager.references import in_order
from azure_emulator.resource_manager.resource_ids import name_of, plain
from azure_emulator.resource_manager.resources import Resource, now
from azure_emulator.resource_manager.what_if import changes
from azure_emulator.state import EmulatorState

_TYPE = "Microsoft.Resources/deployments"
_WHAT_IF_SECONDS = 2.0
_RUNNING = frozenset({"Accepted", "Running"})


def create(emulator: EmulatorState, call: Call, scope: str, name: str) -> Answer:
    """Start a deployment. Raises AzureError if it is refused before anything is created."""
    id = call.path.rstrip("/")
    put_resource.require(emulator, call.oid, f"{_TYPE}/write", id)
    old = emulator.resources.find(id)
    if old and old.state in _RUNNING:
        raise AzureError(
            409,
            "DeploymentActive",
            f"Unable to edit or replace deployment '{name}': previous deployment from '{old.properties['timestamp']}' "
            "is still active. Please see https://aka.ms/arm-deploy for usage details.",
        )
    predicted, outputs = _evaluated(emulator, call, scope)
    _require_same_place(call.body.get("location"), old)
    _preflight(emulator, call.oid, predicted)
    asked = call.body["properties"]
    body = {
        "location": call.body.get("location"),
        "tags": call.body.get("tags") or {},
        "properties": {
            "mode": asked.get("mode", "Incremental"),
            "parameters": _shown_parameters(asked),
            "templateHash": digest(asked["template"], {}, "", None),
            "provisioningState": "Accepted",
            "timestamp": now(),
            "duration": "PT0S",
            "correlationId": str(uuid.uuid4()),
            "providers": [],
            "dependencies": [],
        },
    }
    record = emulator.resources.keep(id, {k: v for k, v in body.items() if v is not None}, call.oid, {})
    record.hidden.clear()
    record.hidden["template"] = copy.deepcopy(asked["template"])
    DeploymentRun(emulator, call.oid, record, in_order(predicted), outputs, _module_names(asked["template"])).start()
    operation = emulator.operations.start(lambda: Progress(record.state, record.properties.get("error")))
    address = f"https://management.azure.com{id}/operationStatuses/{operation}?api-version={call.api_version}"
    return Answer(record.shown(), 200 if old else 201, {"Azure-AsyncOperation": address, **RETRY_AFTER})


def get(emulator: EmulatorState, call: Call, scope: str, name: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_TYPE}/read", call.path)
    record = emulator.resources.find(call.path)
    if call.method == "HEAD":
        return Answer(status=204 if record else 404)
    return Answer(_existing(record, name).shown())


def delete(emulator: EmulatorState, call: Call, scope: str, name: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_TYPE}/delete", call.path)
    return Answer(status=204 if not emulator.resources.drop(call.path) else 200)


def list_all(emulator: EmulatorState, call: Call, scope: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_TYPE}/read", scope)
    return Answer({"value": [record.shown() for record in emulator.resources.children(call.path)]})


def operations(emulator: EmulatorState, call: Call, scope: str, name: str) -> Answer:
    """Return the deployment's operations, one per resource."""
    put_resource.require(emulator, call.oid, f"{_TYPE}/operations/read", call.path)
    record = _existing(emulator.resources.find(f"{scope}/providers/{_TYPE}/{name}"), name)
    rows = record.hidden.get("operations", [])
    return Answer({"value": [{**row, "id": f"{record.id}/operations/{row['operationId']}"} for row in rows]})


def act(emulator: EmulatorState, call: Call, scope: str, name: str, action: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_TYPE}/{action}/action", call.path)
    return _ACTIONS[action.lower()](emulator, call, scope, name)


def _what_if(emulator: EmulatorState, call: Call, scope: str, name: str) -> Answer:
    predicted, _ = _evaluated(emulator, call, scope)
    _preflight(emulator, call.oid, predicted)
    result = {"changes": changes(emulator, in_order(predicted)), "diagnostics": []}
    done: list[dict[str, Any]] = []
    if not emulator.what_if_hangs:
        emulator.clock.after(_WHAT_IF_SECONDS, lambda: done.append(result))
    operation = emulator.operations.start(lambda: Progress("Succeeded", None, done[0]) if done else Progress("Running"))
    address = f"https://management.azure.com/subscriptions/{emulator.subscription}/operationresults/{operation}"
    return Answer(None, 202, {"Location": f"{address}?api-version={call.api_version}", **RETRY_AFTER})


def _validate(emulator: EmulatorState, call: Call, scope: str, name: str) -> Answer:
    predicted, _ = _evaluated(emulator, call, scope)
    _preflight(emulator, call.oid, predicted)
    ids = [{"id": resource["id"]} for resource in predicted]
    state = {"provisioningState": "Succeeded", "validatedResources": ids, "mode": "Incremental", "timestamp": now()}
    return Answer({"id": f"{scope}/providers/{_TYPE}/{name}", "name": name, "type": _TYPE, "properties": state})


def _cancel(emulator: EmulatorState, call: Call, scope: str, name: str) -> Answer:
    record = _existing(emulator.resources.find(f"{scope}/providers/{_TYPE}/{name}"), name)
    if record.state not in _RUNNING:
        raise AzureError(
            409, "DeploymentCannotBeCancelled", f"The deployment '{name}' cannot be cancelled: {record.state}."
        )
    record.hidden["cancelled"] = True
    return Answer(status=204)


def _export(emulator: EmulatorState, call: Call, scope: str, name: str) -> Answer:
    record = _existing(emulator.resources.find(f"{scope}/providers/{_TYPE}/{name}"), name)
    return Answer({"template": record.hidden["template"]})


_ACTIONS: dict[str, Callable[[EmulatorState, Call, str, str], Answer]] = {
    "whatif": _what_if,
    "validate": _validate,
    "cancel": _cancel,
    "exporttemplate": _export,
}


def _without_what_if_settings(body: dict[str, Any]) -> dict[str, Any]:
    """Return a what-if's body without `whatIfSettings`, because only the deployment's body has a schema."""
    settings = body.get("properties", {}).get("whatIfSettings")
    if settings is None:
        return body
    if settings.keys() - {"resultFormat"}:
        raise AzureError(400, "InvalidRequestContent", f"whatIfSettings has resultFormat only, not {settings}.")
    return {**body, "properties": {k: v for k, v in body["properties"].items() if k != "whatIfSettings"}}


def _evaluated(emulator: EmulatorState, call: Call, scope: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    emulator.schemas.check(_TYPE, call.api_version, _without_what_if_settings(object_of(call)))
    asked = call.body.get("properties") or {}
    if not isinstance(asked.get("template"), dict):
        raise AzureError(400, "InvalidRequestContent", "properties.template must be the template as an object.")
    if asked.get("mode", "Incremental") != "Incremental":
        raise AzureError(400, "InvalidRequestContent", "The local Azure deploys in Incremental mode only.")
    group = emulator.resources.find(scope)
    location = group.body["location"] if group else call.body.get("location")
    if "/resourcegroups/" in scope.lower():
        if group is None:
            raise AzureError(404, "ResourceGroupNotFound", f"Resource group '{name_of(scope)}' could not be found.")
    elif not location:
        raise AzureError(400, "LocationRequired", "The location property is required for this definition.")
    else:
        emulator.providers.require_location("Microsoft.Resources/resourceGroups", location)
    parameters = {}
    for key, value in (asked.get("parameters") or {}).items():
        if not isinstance(value, dict) or "value" not in value:
            raise AzureError(400, "InvalidRequestContent", f"The parameter '{key}' is not of the form {{'value': …}}.")
        parameters[key] = value["value"]
    found = emulator.evaluator.evaluate(asked["template"], parameters, location, name_of(scope) if group else None)
    resources = [r for r in found["predictedResources"] if r["type"] != _TYPE]
    return copy.deepcopy(resources), copy.deepcopy(found.get("outputs") or {})


def _require_same_place(location: str | None, old: Resource | None) -> None:
    if old and location and plain(old.body["location"]) != plain(location):
        raise AzureError(
            400,
            "InvalidDeploymentLocation",
            f"Invalid deployment location '{location}'. The deployment '{name_of(old.id)}' already exists in location "
            f"'{old.body['location']}'.",
        )


def _preflight(emulator: EmulatorState, oid: str, predicted: list[dict[str, Any]]) -> None:
    """Check providers, permissions, locations, names and schemas. Raises AzureError before anything is created."""
    for resource in predicted:
        emulator.providers.require(resource["type"].split("/")[0])
    refused = [r for r in predicted if not emulator.authorization.allows(oid, f"{r['type']}/write", r["id"])]
    if refused:
        principal = emulator.directory.find(oid)
        client = f"'{principal.name if principal else oid}' with object id '{oid}'"
        lines = [
            f"Authorization failed for template resource '{name_of(r['id'])}' of type '{r['type']}'. The client "
            f"{client} does not have permission to perform action '{r['type']}/write' at scope '{r['id']}'."
            for r in refused
        ]
        start = (
            "The template deployment failed with error" if len(lines) == 1 else "Deployment failed with multiple errors"
        )
        raise AzureError(403, "InvalidTemplateDeployment", f"{start}: '{':'.join(lines)}'.")
    details = []
    for resource in predicted:
        try:
            body = {
                k: v for k, v in resource.items() if k not in ("id", "type", "name", "apiVersion", "dependsOn", "scope")
            }
            put_resource.check(emulator, resource["id"], body, resource["apiVersion"])
        except AzureError as e:
            details.append({**e.as_json(), "target": resource["id"]})
    if details:
        raise AzureError(
            400,
            "InvalidTemplateDeployment",
            "The template deployment is not valid according to the validation procedure. See inner errors for details: "
            + "; ".join(f"{d['code']}: {d['message']}" for d in details),
            details=details,
        )


def _shown_parameters(asked: dict[str, Any]) -> dict[str, Any]:
    declared = asked["template"].get("parameters") or {}
    return {
        name: {"type": str(declared.get(name, {}).get("type", "string")).capitalize(), **value}
        for name, value in (asked.get("parameters") or {}).items()
        if "secure" not in str(declared.get(name, {}).get("type", "")).lower()
    }


def _module_names(template: dict[str, Any]) -> list[str]:
    resources = template.get("resources") or []
    entries = resources.values() if isinstance(resources, dict) else resources
    return [r["name"] for r in entries if r.get("type") == _TYPE and not str(r["name"]).startswith("[")]


def _existing(record: Resource | None, name: str) -> Resource:
    if record is None:
        raise AzureError(404, "DeploymentNotFound", f"Deployment '{name}' could not be found.")
    return record
