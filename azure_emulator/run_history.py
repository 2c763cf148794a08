"""Azure ML's run history: discovery, and a run's details, which the SDK reads to follow a job."""

from __future__ import annotations

import re
from typing import Any

from azure_emulator.machine_learning.addresses import of_datastore
from azure_emulator.messages import Answer, AzureError, Call
from azure_emulator.resource_manager.put_resource import require
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

_READ = "Microsoft.MachineLearningServices/workspaces/jobs/read"
_WRITE = "Microsoft.MachineLearningServices/workspaces/experiments/runs/write"
_WORKSPACE = re.compile(
    r".*?(?P<id>/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+/workspaces/[^/]+)/", re.IGNORECASE
)
_OUTPUT = re.compile(r"/data/azureml_(?P<job>.+)_output_(?P<output>[^/]+)/versions")
_RUN = re.compile(r".*/runs/(?P<run>[^/]+?)(?P<details>/details)?", re.IGNORECASE)


def public(call: Call) -> Answer | None:
    """Return the addresses of a region's services, which need no token."""
    if call.path.rstrip("/") != "/discovery":
        return None
    address = f"https://{call.host}"
    return Answer(dict.fromkeys(("api", "history", "experimentation", "modelmanagement", "mlflow", "dataset"), address))


def handle(emulator: EmulatorState, call: Call) -> Answer:
    """Answer requests for a run's details and metadata, and change its labels. Raises AzureError."""
    workspace = _WORKSPACE.match(call.path)
    if workspace is None:
        raise AzureError(404, "UserError", f"The local Azure's run history does not know {call.path}.")
    if call.path.lower().endswith("/rundata"):
        return _run_data(emulator, call, workspace["id"])
    if call.path.lower().endswith("/batchgetresolveduris"):
        return _resolved(emulator, call, workspace["id"])
    run = _RUN.fullmatch(call.path)
    if run is None:
        raise AzureError(404, "UserError", f"The local Azure's run history does not know {call.path}.")
    job = _job(emulator, workspace["id"], run["run"])
    if call.method == "PATCH":
        require(emulator, call.oid, _WRITE, job.id)
        for key in ("tags", "properties"):
            job.properties[key] = {**(job.properties.get(key) or {}), **((call.body or {}).get(key) or {})}
        return Answer(_metadata(job))
    require(emulator, call.oid, _READ, job.id)
    return Answer(_details(emulator, job) if run["details"] else _metadata(job))


def _run_data(emulator: EmulatorState, call: Call, workspace: str) -> Answer:
    require(emulator, call.oid, _READ, workspace)
    return Answer({"runMetadata": _metadata(_job(emulator, workspace, (call.body or {}).get("runId", "")))})


def _resolved(emulator: EmulatorState, call: Call, workspace: str) -> Answer:
    """Return the addresses of job outputs, by the ids from `rundata`."""
    require(emulator, call.oid, _READ, workspace)
    values: dict[str, Any] = {}
    for id in (call.body or {}).get("values", []):
        found = _OUTPUT.search(id)
        if found is None:
            raise AzureError(400, "UserError", f"The id '{id}' is not the id of a job's output.")
        uri = _job(emulator, workspace, found["job"]).properties["outputs"][found["output"]]["uri"]
        path = uri.split("/datastores/", 1)[-1].removeprefix("azureml://datastores/")
        store, _, rest = path.partition("/paths/")
        values[id] = {"uri": of_datastore(workspace, store, rest), "path": path, "type": "uri_folder"}
    return Answer({"values": values})


def _job(emulator: EmulatorState, workspace: str, name: str) -> Resource:
    job = emulator.resources.find(f"{workspace}/jobs/{name}")
    if job is None:
        raise AzureError(404, "UserError", f"Run {name} was not found.")
    return job


def _metadata(job: Resource) -> dict[str, Any]:
    outputs = {
        name: {
            "assetId": f"azureml://data/azureml_{job.body['name']}_output_{name}/versions/1",
            "type": output["jobOutputType"],
        }
        for name, output in job.properties["outputs"].items()
        if name != "default"
    }
    return {
        "runId": job.body["name"],
        "status": job.properties["status"],
        "displayName": job.properties.get("displayName"),
        "tags": job.properties.get("tags"),
        "properties": job.properties.get("properties"),
        "startTimeUtc": job.hidden.get("started"),
        "endTimeUtc": job.hidden.get("ended"),
        "error": _error(job),
        "outputs": outputs,
    }


def _details(emulator: EmulatorState, job: Resource) -> dict[str, Any]:
    workspace = job.id.rsplit("/jobs/", 1)[0]
    store = emulator.resources.find(f"{workspace}/datastores/workspaceartifactstore")
    assert store
    account, container = store.properties["accountName"], store.properties["containerName"]
    token = emulator.blobs.container_sas(account, container, "rl", 1, oid=emulator.identity_of(workspace))
    path = f"ExperimentRun/dcid.{job.body['name']}/user_logs/std_log.txt"
    return {
        "runId": job.body["name"],
        "target": job.properties["computeId"].rsplit("/", 1)[-1],
        "status": job.properties["status"],
        "startTimeUtc": job.hidden.get("started"),
        "endTimeUtc": job.hidden.get("ended"),
        "error": _error(job),
        "warnings": [],
        "tags": job.properties.get("tags"),
        "properties": job.properties.get("properties"),
        "logFiles": {"user_logs/std_log.txt": f"https://{account}.blob.core.windows.net/{container}/{path}?{token}"},
        "submittedBy": "person@example.org",
    }


def _error(job: Resource) -> dict[str, Any] | None:
    error = job.hidden.get("error")
    return {"error": error, "correlation": {}, "environment": "eastus2", "location": "eastus2"} if error else None
