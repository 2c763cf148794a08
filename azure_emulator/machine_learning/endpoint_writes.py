"""Writes to online endpoints and their deployments, one at a time per endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from azure_emulator.machine_learning import endpoints, online_deployments, traffic
from azure_emulator.messages import Answer, AzureError, Call, merged, not_found, object_of
from azure_emulator.resource_manager import put_resource
from azure_emulator.resource_manager.operations import Progress
from azure_emulator.resource_manager.resource_ids import name_of, parent_of, plain, provider_of, type_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState, ProvisioningFailed

ENDPOINT_SECONDS = 1.0


@dataclass
class Operation:
    """One write in progress, which its client polls."""

    state: str = "InProgress"
    error: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)


def begin(emulator: EmulatorState, call: Call, resource: Resource, state: str) -> Operation:
    """Start an operation on the resource. The caller holds the resources' lock."""
    operation = Operation()
    id = emulator.operations.start(lambda: Progress(operation.state, operation.error))
    operation.headers = emulator.operations.headers(
        id, emulator.subscription, provider_of(resource.id), "mfeOperationsStatus", call.api_version
    )
    resource.hidden["operation"] = operation
    _set_state(resource, state)
    return operation


def _set_state(resource: Resource, state: str) -> None:
    resource.properties["provisioningState"] = state
    resource.hidden.setdefault("history", []).append(state)


def _finish(
    emulator: EmulatorState, id: str, operation: Operation, failed: ProvisioningFailed | None = None
) -> Resource | None:
    """End the operation. Return the resource if it still exists. The caller holds the resources' lock."""
    resource = emulator.resources.find(id)
    if failed:
        operation.state, operation.error = "Failed", {"code": failed.code, "message": failed.message}
    else:
        operation.state = "Succeeded"
    if resource:
        _set_state(resource, operation.state)
    return resource


def require_idle(emulator: EmulatorState, endpoint_id: str) -> None:
    """Raise Conflict while a write on the endpoint or one of its deployments is in progress.

    how-to-troubleshoot-online-endpoints: "When an operation is already in progress, any new operation on that same
    online endpoint responds with a 409 conflict error."
    """
    parts = [emulator.resources.find(endpoint_id), *emulator.resources.children(f"{endpoint_id}/deployments")]
    for part in filter(None, parts):
        operation = part.hidden.get("operation")
        if operation and operation.state == "InProgress":
            raise AzureError(
                409,
                "Conflict",
                f"There is already an operation in progress on online endpoint '{name_of(endpoint_id)}' "
                f"({type_of(part.id).rsplit('/', 1)[-1]} '{name_of(part.id)}' is {part.state}). Wait until it has "
                "ended, then try again.",
            )


def put_endpoint(emulator: EmulatorState, call: Call, id: str) -> Answer:
    return _write_endpoint(emulator, call, id, object_of(call))


def patch_endpoint(emulator: EmulatorState, call: Call, id: str) -> Answer:
    old = existing(emulator, id)
    return _write_endpoint(emulator, call, id, merged(old.asked, object_of(call)))


def _write_endpoint(emulator: EmulatorState, call: Call, id: str, body: dict[str, Any]) -> Answer:
    put_resource.require(emulator, call.oid, f"{type_of(id)}/write", id)
    keys = (body.get("properties") or {}).get("keys") or {}
    with emulator.resources.lock:
        require_idle(emulator, id)
        kept = put_resource.put(emulator, call.oid, id, body, call.api_version)
        resource = kept.resource
        # Keys are write-only, also for a later PATCH.
        (resource.asked.get("properties") or {}).pop("keys", None)
        if kept.created:
            endpoints.grant_system_identity(emulator, resource, call.oid)
        emulator.scoring.open(resource.id, plain(resource.body["location"]), resource.properties["authMode"], keys)
        operation = begin(emulator, call, resource, "Creating" if kept.created else "Updating")
        shown = resource.shown()
    emulator.clock.after(ENDPOINT_SECONDS, lambda: end_endpoint(emulator, resource.id, operation))
    return Answer(shown, 201 if kept.created else 200, operation.headers)


def end_endpoint(emulator: EmulatorState, id: str, operation: Operation) -> None:
    with emulator.resources.lock:
        missing = endpoints.missing_providers(emulator)
        if missing:
            names = ", ".join(missing)
            message = (
                f"Resource provider [{names}] isn't registered with Subscription [{emulator.subscription}]. Please see "
                "troubleshooting guide, available here: https://aka.ms/register-resource-provider"
            )
            _finish(emulator, id, operation, ProvisioningFailed("SubscriptionNotRegistered", message))
            return
        resource = _finish(emulator, id, operation)
        if resource:
            endpoints.settled(emulator, resource)


def delete_endpoint(emulator: EmulatorState, call: Call, id: str) -> Answer:
    return _delete(emulator, call, id, id)


def put_deployment(emulator: EmulatorState, call: Call, id: str, endpoint: str) -> Answer:
    return _write_deployment(emulator, call, id, endpoint, object_of(call))


def patch_deployment(emulator: EmulatorState, call: Call, id: str, endpoint: str) -> Answer:
    old, asked = existing(emulator, id), object_of(call)
    if set(asked) - {"tags", "sku"}:
        raise AzureError(400, "InvalidRequestContent", "A PATCH of a deployment changes its tags and its sku only.")
    return _write_deployment(emulator, call, id, endpoint, merged(old.asked, asked))


def _write_deployment(emulator: EmulatorState, call: Call, id: str, endpoint: str, body: dict[str, Any]) -> Answer:
    put_resource.require(emulator, call.oid, f"{type_of(id)}/write", id)
    with emulator.resources.lock:
        require_idle(emulator, endpoint)
        before = emulator.resources.find(id)
        kept = put_resource.put(emulator, call.oid, id, body, call.api_version)
        resource = kept.resource
        same_work = before is not None and before.hidden.get("serves") == _work(resource)
        operation = begin(emulator, call, resource, "Creating" if kept.created else "Updating")
        shown = resource.shown()
    if same_work:
        emulator.clock.after(ENDPOINT_SECONDS, lambda: _end_deployment(emulator, resource.id, operation, None))
    else:
        emulator.provisioner.start(resource, lambda failed: _end_deployment(emulator, resource.id, operation, failed))
    return Answer(shown, 201 if kept.created else 200, operation.headers)


def _end_deployment(emulator: EmulatorState, id: str, operation: Operation, failed: ProvisioningFailed | None) -> None:
    with emulator.resources.lock:
        resource = _finish(emulator, id, operation, failed)
        live = emulator.scoring.of(parent_of(id))
        if resource is None or live is None:
            return
        resource.hidden["serves"] = None if failed else _work(resource)
        if failed:
            return
        slot = live.deployment(name_of(id))
        slot.timeout = online_deployments.request_timeout(resource.properties)
        slot.max_concurrent_requests = online_deployments.max_concurrent_requests(resource)
        endpoint = emulator.resources.find(parent_of(id))
        if endpoint:
            endpoint.properties["scoringUri"] = f"https://{live.host}{slot.route.path}"


def _work(deployment: Resource) -> dict[str, Any]:
    return {key: deployment.properties.get(key) for key in online_deployments.WORK}


def delete_deployment(emulator: EmulatorState, call: Call, id: str, endpoint: str) -> Answer:
    return _delete(emulator, call, id, endpoint)


def _delete(emulator: EmulatorState, call: Call, id: str, endpoint: str) -> Answer:
    """Delete an endpoint or deployment with everything below it; its containers end in the background."""
    put_resource.require(emulator, call.oid, f"{type_of(id)}/delete", id)
    with emulator.resources.lock:
        resource = emulator.resources.find(id)
        if resource is None:
            return Answer(status=204)
        require_idle(emulator, endpoint)
        share = traffic.share_of(emulator, endpoint, name_of(id)) if id != endpoint else 0
        if share:
            raise AzureError(
                400,
                "BadRequest",
                f"The deployment '{name_of(id)}' has {share} percent of the endpoint's traffic and cannot be deleted. "
                "Set its traffic to 0 first.",
            )
        operation = begin(emulator, call, resource, "Deleting")
    emulator.clock.after(ENDPOINT_SECONDS, lambda: _end_delete(emulator, id, endpoint, operation))
    return Answer(None, 202, operation.headers)


def _end_delete(emulator: EmulatorState, id: str, endpoint: str, operation: Operation) -> None:
    with emulator.resources.lock:
        put_resource.drop(emulator, id)
        rest = emulator.resources.find(endpoint)
        if rest:  # the deployment's entry, which is 0, is removed too
            (rest.properties.get("traffic") or {}).pop(name_of(id), None)
        operation.state = "Succeeded"


def existing(emulator: EmulatorState, id: str) -> Resource:
    resource = emulator.resources.find(id)
    if resource is None:
        raise not_found(id)
    return resource
