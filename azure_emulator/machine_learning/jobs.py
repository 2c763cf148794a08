"""Command jobs: requirements of a PUT, and what may change on an existing job."""

from __future__ import annotations

from typing import Any

from azure_emulator.machine_learning.addresses import of_datastore
from azure_emulator.machine_learning.clusters import seconds_of
from azure_emulator.machine_learning.job_runs import job_run
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import parent_of
from azure_emulator.resource_manager.resource_types import Put
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

_MUTABLE = frozenset({"description", "tags", "displayName", "properties", "isArchived", "services", "status"})


def complete(put: Put) -> None:
    """Check a command job and its parts. An existing job keeps its state; only its labels may change."""
    asked = put.properties
    if put.old:
        _require_same_work(put)
        labels = {key: asked[key] for key in _MUTABLE & asked.keys() if key not in ("services", "status")}
        # Azure merges tags: one that is left out stays.
        for key in ("tags", "properties"):
            labels[key] = {**(put.old.properties.get(key) or {}), **(labels.get(key) or {})}
        put.body = {**put.old.shown(), "properties": {**put.old.shown()["properties"], **labels}}
        put.body["properties"].pop("provisioningState", None)
        return
    if asked.get("jobType") != "Command":
        raise _user_error(f"The local Azure runs command jobs only, not '{asked.get('jobType')}'.")
    workspace = parent_of(put.id)
    _require_parts(put, workspace)
    asked["outputs"] = _outputs(put, workspace)
    job_run(put.emulator, put.id, asked, put.emulator.resources.find(asked["computeId"]))
    _add_labels(put, workspace)


def settle(emulator: EmulatorState, job: Resource) -> None:
    """Start a new job."""
    job.properties.pop("provisioningState", None)
    emulator.jobs.begin(job)


def _require_same_work(put: Put) -> None:
    assert put.old
    before, after = put.old.asked.get("properties", {}), put.properties
    differing = sorted(
        k for k in before.keys() | after.keys() if k not in _MUTABLE and _differs(before.get(k), after.get(k))
    )
    if differing:
        names = ",  ".join(key[0].upper() + key[1:] for key in differing)
        raise AzureError(
            400,
            "UserError",
            "A job with this name already exists. If you are trying to create a new job, use a different name. If you "
            f"are trying to update an existing job, the existing job's {names} cannot be changed. Only description, "
            "tags, displayName, properties, and isArchived can be updated.",
            details=[{"code": "JobPropertyImmutable", "message": names}],
        )


def _differs(before: Any, after: Any) -> bool:
    return _bare(before) != _bare(after)


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _bare(v) for k, v in value.items() if v not in (None, {}, []) and k != "default"} or None
    return value


def _require_parts(put: Put, workspace: str) -> None:
    asked, find = put.properties, put.emulator.resources.find
    if not asked.get("command"):
        raise _user_error("The job has no command.")
    environment = find(str(asked.get("environmentId")))
    if environment is None:
        raise _user_error(f"The environment '{asked.get('environmentId')}' was not found.")
    cluster = find(str(asked.get("computeId")))
    if cluster is None:
        raise AzureError(
            404, "UserError", f"The specified compute target '{asked.get('computeId')}' was not found in the workspace."
        )
    if cluster.state != "Succeeded":
        raise _user_error(f"The compute '{cluster.body['name']}' is not ready: {cluster.state}.")
    if asked.get("codeId") and find(asked["codeId"]) is None:
        raise _user_error(f"The code '{asked['codeId']}' was not found.")
    _require_identity(put, cluster)
    seconds_of((asked.get("limits") or {}).get("timeout"))


def _require_identity(put: Put, cluster: Resource) -> None:
    identity = put.properties.get("identity") or {}
    if identity.get("identityType") != "Managed":
        return
    attached = (cluster.body.get("identity") or {}).get("userAssignedIdentities") or {}
    wanted = [str(identity[key]) for key in ("clientId", "objectId", "resourceId") if identity.get(key)]
    for id, shown in attached.items():
        if not wanted or any(w.lower() in (id.lower(), *map(str.lower, shown.values())) for w in wanted):
            return
    raise _user_error(f"The managed identity {wanted} is not assigned to the compute '{cluster.body['name']}'.")


def _outputs(put: Put, workspace: str) -> dict[str, Any]:
    outputs = dict(put.properties.get("outputs") or {})
    for name, output in outputs.items():
        if not output.get("uri"):
            output["uri"] = of_datastore(workspace, "workspaceblobstore", f"azureml/{put.name}/{name}/")
        output.setdefault("mode", "ReadWriteMount")
    artifacts = f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{put.name}"
    outputs["default"] = {"jobOutputType": "uri_folder", "mode": "ReadWriteMount", "uri": artifacts}
    return outputs


def _add_labels(put: Put, workspace: str) -> None:
    studio = f"https://ml.azure.com/runs/{put.name}?wsid={workspace}"
    put.default(experimentName="Default", displayName=put.name, isArchived=False)
    for key in ("tags", "properties"):
        if put.properties.get(key) is None:
            put.properties[key] = {}
    put.properties["status"] = "NotStarted"
    put.properties["services"] = {
        "Tracking": {"jobServiceType": "Tracking", "endpoint": f"azureml://{workspace}", "port": None, "status": None},
        "Studio": {"jobServiceType": "Studio", "endpoint": studio, "port": None, "status": None},
    }


def _user_error(message: str) -> AzureError:
    return AzureError(400, "UserError", message)
