"""Versioned assets: data, models, code and environments. A version's content never changes."""

from __future__ import annotations

import re
from typing import Any

from azure_emulator.jobs.contract import BlobPath
from azure_emulator.machine_learning.addresses import blob_path, of_datastore
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import name_of, parent_of
from azure_emulator.resource_manager.resource_types import Kind, Put
from azure_emulator.resource_manager.resources import Resource

_LONGEST_VERSION = 30
# What may change on a version that exists.
_MUTABLE = frozenset(
    {"description", "tags", "properties", "isArchived", "stage", "autoDeleteSetting", "provisioningState"}
)
_WORKSPACE = "Microsoft.MachineLearningServices/workspaces"


def _version(put: Put) -> None:
    if len(put.name) > _LONGEST_VERSION:
        raise _user_error(f"The version '{put.name}' is too long: at most {_LONGEST_VERSION} characters.")
    put.default(isArchived=False, isAnonymous=False)
    for key in ("tags", "properties"):
        if put.properties.get(key) is None:
            put.properties[key] = {}
    if put.old:
        _require_unchanged(put)


def _require_unchanged(put: Put) -> None:
    assert put.old
    before, now = (_content(properties) for properties in (put.old.properties, put.properties))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if not changed:
        return
    if any(key in ("dataUri", "modelUri", "codeUri") for key in changed):
        # azure-ai-ml compares the error's text with this sentence.
        raise _user_error("Asset paths cannot be updated.")
    raise AzureError(
        409,
        "UserError",
        f"A version '{put.name}' of this asset already exists and its {', '.join(changed)} cannot be changed. "
        "Use a different version.",
    )


def _content(properties: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in properties.items() if k not in _MUTABLE and v not in (None, {}, [])}


def _data(put: Put) -> None:
    workspace = _workspace(put.id)
    blob_path(put.emulator, workspace, put.properties["dataUri"])
    _version(put)


def _model(put: Put) -> None:
    if not re.fullmatch(r"[1-9]\d*", put.name):
        raise _user_error(f"The model version '{put.name}' is invalid: model versions are positive integers.")
    workspace = _workspace(put.id)
    target = blob_path(put.emulator, workspace, put.properties["modelUri"])
    _resolve_job(put, workspace, target)
    if put.old is None and next(iter(put.emulator.blobs.store.list(target)), None) is None:
        raise _user_error(f"There are no artifacts at '{put.properties['modelUri']}' to register as a model.")
    # azure-ai-ml requires flavors.
    put.default(flavors={}, modelType="custom_model")
    _version(put)


def _resolve_job(put: Put, workspace: str, target: BlobPath) -> None:
    """Store the job's name and the output's address in a model that is created from a job's output."""
    made = re.match(r"azureml://(?:subscriptions/.*/)?jobs/([^/]+)/outputs/", put.properties["modelUri"])
    if made is None:
        return
    put.properties["jobName"] = made[1]
    for store in put.emulator.resources.children(f"{workspace}/datastores"):
        if (store.properties["accountName"], store.properties["containerName"]) == (target.account, target.container):
            put.properties["modelUri"] = of_datastore(workspace, store.body["name"], target.path)


def _code(put: Put) -> None:
    blob_path(put.emulator, _workspace(put.id), put.properties["codeUri"])
    _version(put)


def _environment(put: Put) -> None:
    build, image = put.properties.get("build"), put.properties.get("image")
    if bool(build) == bool(image):
        raise _user_error("An environment needs either an image or a build context.")
    if build and not str(build.get("contextUri", "")).startswith(("azureml://", "https://")):
        raise _user_error(f"The build context '{build.get('contextUri')}' is not an address in the cloud.")
    if build:
        blob_path(put.emulator, _workspace(put.id), build["contextUri"])
        build.setdefault("dockerfilePath", "Dockerfile")
    put.default(osType="Linux", environmentType="UserCreated")
    _version(put)


def _settle(emulator, version: Resource) -> None:
    container = parent_of(version.id)
    old = emulator.resources.find(container)
    versions = [name_of(r.id) for r in emulator.resources.children(f"{container}/versions")]
    latest = max(versions, key=lambda v: (int(v), "") if v.isdigit() else (0, v))
    following = str(int(latest) + 1) if latest.isdigit() else None
    kept = old.properties if old else {"description": None, "tags": {}, "properties": {}, "isArchived": False}
    extra = {"dataType": version.properties["dataType"]} if "dataType" in version.properties else {}
    body = {"properties": {**kept, **extra, "latestVersion": latest, "nextVersion": following}}
    emulator.resources.keep(container, body, "Azure Machine Learning", {})


def _user_error(message: str) -> AzureError:
    return AzureError(400, "UserError", message)


def _workspace(id: str) -> str:
    return parent_of(parent_of(id))


def _container(put: Put) -> None:
    put.default(isArchived=False)


_ASSET_NAME = r"[A-Za-z0-9][A-Za-z0-9\-_.]{0,254}"
_COMPLETE = {"data": _data, "models": _model, "codes": _code, "environments": _environment}
KINDS = (
    *(Kind(f"{_WORKSPACE}/{kind}", _container, located=False, name=_ASSET_NAME) for kind in _COMPLETE),
    *(
        Kind(f"{_WORKSPACE}/{kind}/versions", complete, settle=_settle, located=False, name=_ASSET_NAME)
        for kind, complete in _COMPLETE.items()
    ),
)
