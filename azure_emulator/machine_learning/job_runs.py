"""Resolves a job's specification to the runner's input."""

from __future__ import annotations

import re
from typing import Any, Literal

from azure_emulator.jobs.contract import BlobPath, JobInput, JobOutput, JobRun
from azure_emulator.machine_learning.addresses import blob_path
from azure_emulator.machine_learning.clusters import seconds_of
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import name_of, parent_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

_PLACE = re.compile(r"\$\{\{\s*(inputs|outputs)\.(\w+)\s*\}\}")
_FILES: dict[str, Literal["uri_file", "uri_folder"]] = {
    "uri_file": "uri_file",
    "uri_folder": "uri_folder",
    "mltable": "uri_folder",
}
_MODELS = frozenset({"custom_model", "mlflow_model", "triton_model"})


def job_run(emulator: EmulatorState, id: str, asked: dict[str, Any], cluster: Resource | None) -> JobRun:
    """Return the job as the runner needs it. Raises AzureError (UserError) for an invalid address."""
    assert cluster is not None
    workspace, name = parent_of(id), name_of(id)
    inputs = {key: _input(emulator, workspace, key, value) for key, value in (asked.get("inputs") or {}).items()}
    outputs = {
        key: JobOutput(blob_path(emulator, workspace, value["uri"]), _mode(value.get("mode")))
        for key, value in (asked.get("outputs") or {}).items()
        if key != "default"
    }
    _require_places(asked["command"], inputs, outputs)
    oid, client_id, identity = _identity(asked, cluster)
    logs = blob_path(emulator, workspace, "azureml://datastores/workspaceartifactstore/paths/")
    code = emulator.resources.find(asked["codeId"]) if asked.get("codeId") else None
    return JobRun(
        id=id.lower(),
        name=name,
        command=asked["command"],
        code=blob_path(emulator, workspace, code.properties["codeUri"]) if code else None,
        inputs=inputs,
        outputs=outputs,
        environment_variables=dict(asked.get("environmentVariables") or {}),
        identity_oid=oid,
        identity_client_id=client_id,
        timeout_seconds=seconds_of((asked.get("limits") or {}).get("timeout")),
        log=BlobPath(logs.account, logs.container, f"ExperimentRun/dcid.{name}/user_logs/std_log.txt"),
        identity_name=identity,
        identity_based_data=_identity_based(emulator, workspace),
    )


def _identity_based(emulator: EmulatorState, workspace: str) -> bool:
    """Return whether mounts use the job's identity: they do unless the datastore has a valid account key."""
    store = emulator.resources.find(f"{workspace}/datastores/workspaceblobstore")
    if store is None or store.properties["credentials"]["credentialsType"] != "AccountKey":
        return True
    account = emulator.storage_account(store.properties["accountName"])
    return not (account and account.shared_keys)


def _input(emulator: EmulatorState, workspace: str, name: str, value: dict[str, Any]) -> JobInput:
    kind = value.get("jobInputType")
    if kind == "literal":
        return JobInput("literal", str(value["value"]))
    if kind in _MODELS:
        target = blob_path(emulator, workspace, value["uri"])
        return JobInput("uri_folder", target)
    if kind not in _FILES:
        raise AzureError(
            400, "UserError", f"The input '{name}' has the type '{kind}', which the local Azure does not know."
        )
    return JobInput(_FILES[kind], blob_path(emulator, workspace, value["uri"]))


def _mode(mode: str | None) -> Any:
    if mode in (None, "ReadWriteMount", "Upload"):
        return mode or "ReadWriteMount"
    raise AzureError(400, "UserError", f"The output mode '{mode}' is not one of ReadWriteMount and Upload.")


def _require_places(command: str, inputs: dict[str, JobInput], outputs: dict[str, JobOutput]) -> None:
    for side, name in _PLACE.findall(command):
        if name not in (inputs if side == "inputs" else outputs):
            raise AzureError(400, "UserError", f"The command names {side}.{name}, which the job does not have.")


def _identity(asked: dict[str, Any], cluster: Resource) -> tuple[str | None, str | None, str | None]:
    """Return object id, client id and resource id of the job's identity, or of the cluster's."""
    attached = (cluster.body.get("identity") or {}).get("userAssignedIdentities") or {}
    named = asked.get("identity") or {}
    wanted = [str(named[key]).lower() for key in ("clientId", "objectId", "resourceId") if named.get(key)]
    for id, shown in attached.items():
        known = (id.lower(), shown["principalId"].lower(), shown["clientId"].lower())
        if not wanted or any(w in known for w in wanted):
            return shown["principalId"], shown["clientId"], id
    return None, None, None
