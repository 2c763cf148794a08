"""Requests of Azure ML beyond the verbs that all resources have."""

from __future__ import annotations

import uuid
from typing import Any

from azure_emulator.machine_learning import connection_calls, endpoint_calls
from azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call, not_found
from azure_emulator.resource_manager import put_resource, skus
from azure_emulator.resource_manager.operations import Progress
from azure_emulator.resource_manager.resource_ids import name_of, parent_of, provider_of, type_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

_ML = "Microsoft.MachineLearningServices/workspaces"


def _put_compute(emulator: EmulatorState, call: Call) -> Answer:
    kept = put_resource.put(emulator, call.oid, call.path, call.body or {}, call.api_version)
    headers: dict[str, str] = {}
    if kept.resource.state in ("Creating", "Updating"):
        headers = _follow(emulator, call, kept.resource, "computeOperationsStatus")
    return Answer(kept.resource.shown(), 201 if kept.created else 200, headers)


def _delete_compute(emulator: EmulatorState, call: Call) -> Answer:
    put_resource.require(emulator, call.oid, f"{_ML}/computes/delete", call.path)
    cluster = _existing(emulator, call.path)
    cluster.properties["provisioningState"] = "Deleting"
    emulator.clock.after(1.0, lambda: put_resource.drop(emulator, cluster.id))
    operation = emulator.operations.start(
        lambda: Progress("Succeeded" if emulator.resources.find(cluster.id) is None else "Deleting")
    )
    headers = emulator.operations.headers(
        operation, emulator.subscription, provider_of(call.path), "computeOperationsStatus", call.api_version
    )
    return Answer(None, 202, headers)


def _put_job(emulator: EmulatorState, call: Call) -> Answer:
    kept = put_resource.put(emulator, call.oid, call.path, call.body or {}, call.api_version)
    return Answer(kept.resource.shown(), 201 if kept.created else 200)


def _cancel_job(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_ML}/jobs/cancel/action", id)
    job = _existing(emulator, id)
    emulator.jobs.cancel(job)
    operation = emulator.operations.start(
        lambda: Progress(
            "InProgress" if _existing(emulator, id).properties["status"] == "CancelRequested" else "Succeeded"
        )
    )
    address = (
        f"https://management.azure.com/subscriptions/{emulator.subscription}/providers/"
        f"Microsoft.MachineLearningServices/locations/eastus2/mfeOperationResults/jc:{operation}"
    )
    return Answer(None, 202, {"Location": f"{address}?api-version={call.api_version}", **RETRY_AFTER})


def _operation_result(emulator: EmulatorState, call: Call, id: str) -> Answer:
    running = emulator.operations.poll(id).body["status"] == "InProgress"
    headers = {"Location": f"https://{call.host}{call.path}?api-version={call.api_version}", **RETRY_AFTER}
    return Answer(None, 202, headers) if running else Answer(None, 200)


def _list_jobs(emulator: EmulatorState, call: Call, workspace: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_ML}/jobs/read", workspace)
    rows = [r.shown() for r in emulator.resources.children(f"{workspace}/jobs")]
    wanted = dict(part.split("=", 1) for part in call.query.get("tag", "").split(",") if "=" in part)
    rows = [r for r in rows if wanted.items() <= (r["properties"].get("tags") or {}).items()]
    rows.sort(key=lambda r: r["systemData"]["createdAt"], reverse=True)
    return Answer({"value": rows})


def _start_upload(emulator: EmulatorState, call: Call, version: str) -> Answer:
    """Create a container for a new version, with a SAS."""
    workspace = parent_of(parent_of(version))
    put_resource.require(emulator, call.oid, f"{type_of(version)}/startPendingUpload/action", version)
    store = emulator.resources.find(f"{workspace}/datastores/workspaceblobstore")
    if store is None:
        raise not_found(f"{workspace}/datastores/workspaceblobstore")
    account, container = store.properties["accountName"], f"{name_of(version)[:20]}-{uuid.uuid4()}"[:63].lower()
    emulator.blobs.ensure_container(account, container)
    token = emulator.blobs.container_sas(account, container, "racwl", 2, oid=emulator.identity_of(workspace))
    address = f"https://{account}.blob.core.windows.net/{container}"
    credential = {"credentialType": "SAS", "sasUri": f"{address}?{token}"}
    account_id = _existing(emulator, workspace).properties["storageAccount"]
    reference = {"blobUri": address, "storageAccountArmId": account_id, "credential": credential}
    return Answer(
        {
            "pendingUploadId": str(uuid.uuid4()),
            "pendingUploadType": "TemporaryBlobReference",
            "blobReferenceForConsumption": reference,
        }
    )


def _datastore_secrets(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_ML}/datastores/listSecrets/action", id)
    store = _existing(emulator, id)
    kind, account = store.properties["credentials"]["credentialsType"], store.properties["accountName"]
    if kind == "None":
        raise AzureError(400, "UserError", f"The datastore '{name_of(id)}' has no credentials: it is identity-based.")
    if (call.body or {}).get("expirableSecret"):
        token = emulator.blobs.container_sas(account, store.properties["containerName"], "racwdl", 8)
        return Answer({"secretsType": "Sas", "sasToken": token})
    return Answer({"secretsType": kind, "key": emulator.blobs.key_of(account)})


def _list_datastores(emulator: EmulatorState, call: Call, workspace: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_ML}/datastores/read", workspace)
    rows = [r.shown() for r in emulator.resources.children(f"{workspace}/datastores")]
    if call.query.get("isDefault"):
        rows = [r for r in rows if r["properties"].get("isDefault") is (call.query["isDefault"].lower() == "true")]
    return Answer({"value": rows})


def _list_versions(emulator: EmulatorState, call: Call, collection: str) -> Answer:
    kind = collection.rsplit("/", 3)[-3]
    put_resource.require(emulator, call.oid, f"{_ML}/{kind}/versions/read", collection)
    wanted = call.query.get("hash")
    if wanted is not None:
        # A search by content covers all names, so the same code is uploaded once although the SDK gives it a new random
        # name each time.
        everywhere = emulator.resources.of_type(f"{_ML}/{kind}/versions", collection.rsplit("/", 2)[0])
        found = [r for r in everywhere if (r.properties.get("properties") or {}).get("hash_sha256") == wanted]
        return Answer({"value": [r.shown() for r in found]})
    # https://learn.microsoft.com/rest/api/azureml/model-versions/list: listViewType, by default the active ones.
    shown = {"ArchivedOnly": (True,), "All": (True, False)}.get(call.query.get("listViewType", ""), (False,))
    rows = [r.shown() for r in emulator.resources.children(collection) if bool(r.properties.get("isArchived")) in shown]
    rows.sort(key=lambda r: r["systemData"]["createdAt"], reverse="desc" in call.query.get("$orderBy", "").lower())
    tags = [part.split("=", 1) for part in call.query.get("tags", "").split(",") if part]
    for part in tags:
        rows = [r for r in rows if (r["properties"].get("tags") or {}).get(part[0], None) in (part[1:] or [None])]
    top = call.query.get("$top")
    return Answer({"value": rows[: int(top)] if top else rows})


def _workspace_keys(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_ML}/listKeys/action", id)
    workspace = _existing(emulator, id)
    account = name_of(workspace.properties["storageAccount"])
    return Answer(
        {
            "userStorageKey": emulator.blobs.key_of(account),
            "userStorageResourceId": workspace.properties["storageAccount"],
        }
    )


def _cluster_nodes(emulator: EmulatorState, call: Call, id: str) -> Answer:
    put_resource.require(emulator, call.oid, f"{_ML}/computes/listNodes/action", id)
    _existing(emulator, id)
    return Answer({"nodes": []})


def _sizes(emulator: EmulatorState, call: Call, location: str) -> Answer:
    emulator.providers.require("Microsoft.MachineLearningServices")
    put_resource.require(emulator, call.oid, "Microsoft.MachineLearningServices/locations/vmsizes/read", call.path)
    emulator.providers.require_location(_ML, location)
    rows = [
        {
            "name": size.name,
            "family": size.family,
            "vCPUs": size.vcpus,
            "gpus": size.gpus,
            "memoryGB": size.memory_gb,
            "lowPriorityCapable": False,
            "premiumIO": True,
            "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
        }
        for size in skus.VM_SIZES
        if size.name.lower() not in emulator.unavailable_sizes
    ]
    return Answer({"value": rows})


def _follow(emulator: EmulatorState, call: Call, resource: Resource, kind: str) -> dict[str, str]:
    operation = emulator.operations.start(lambda: Progress(resource.state, resource.hidden.get("error")))
    return emulator.operations.headers(
        operation, emulator.subscription, provider_of(resource.id), kind, call.api_version
    )


def _existing(emulator: EmulatorState, id: str) -> Resource:
    resource = emulator.resources.find(id)
    if resource is None:
        raise not_found(id)
    return resource


def _pattern(rest: str, name: str) -> str:
    group = r"/subscriptions/[^/]+/resourcegroups/[^/]+"
    return rf"(?P<{name}>{group}/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+{rest})"


_PLACES = r"/subscriptions/[^/]+/providers/Microsoft\.MachineLearningServices/locations/(?P<location>[^/]+)"
ROUTES: list[tuple[str, str, Any]] = [
    *endpoint_calls.ROUTES,
    *connection_calls.ROUTES,
    ("PUT", _pattern("/computes/[^/]+", "id").replace("?P<id>", "?:"), _put_compute),
    ("DELETE", _pattern("/computes/[^/]+", "id").replace("?P<id>", "?:"), _delete_compute),
    ("POST", _pattern("/computes/[^/]+", "id") + "/listNodes", _cluster_nodes),
    ("PUT", _pattern("/jobs/[^/]+", "id").replace("?P<id>", "?:"), _put_job),
    ("GET", _pattern("", "workspace") + "/jobs", _list_jobs),
    ("POST", _pattern("/jobs/[^/]+", "id") + "/cancel", _cancel_job),
    (
        "GET",
        r"/subscriptions/[^/]+/providers/[^/]+/locations/[^/]+/mfeOperationResults/jc:(?P<id>[^/]+)",
        _operation_result,
    ),
    ("POST", _pattern("/(?:codes|data|models)/[^/]+/versions/[^/]+", "version") + "/startPendingUpload", _start_upload),
    ("POST", _pattern("/datastores/[^/]+", "id") + "/listSecrets", _datastore_secrets),
    ("GET", _pattern("", "workspace") + "/datastores", _list_datastores),
    ("GET", _pattern("/(?:codes|data|models|environments)/[^/]+/versions", "collection"), _list_versions),
    ("POST", _pattern("", "id") + "/listKeys", _workspace_keys),
    ("GET", f"{_PLACES}/vmSizes", _sizes),
]
