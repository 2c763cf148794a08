"""Environments, apps and sign-in of Azure Container Apps, and the revisions of an app."""

from __future__ import annotations

import uuid
from typing import Any

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager import linked_access
from azure_emulator.resource_manager.resource_ids import parent_of, plain
from azure_emulator.resource_manager.resource_types import Kind, Put
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

APP = "Microsoft.App/containerApps"
HOST = ".azurecontainerapps.io"


def _environment(put: Put) -> None:
    # Azure's has a random part, which no certificate could name beforehand: one environment a region has names here.
    domain = f"local.{plain(put.body['location'])}{HOST}"
    if any(e.id != (put.old.id if put.old else "") and e.properties["defaultDomain"] == domain for e in _others(put)):
        raise AzureError(
            400, "MaxNumberOfRegionalEnvironmentsInSubExceeded", "The local Azure has one environment a region."
        )
    put.properties["defaultDomain"] = domain


def _others(put: Put) -> list[Resource]:
    return put.emulator.resources.of_type("Microsoft.App/managedEnvironments")


def _app(put: Put) -> None:
    environment = put.emulator.resources.find(_environment_of(put.properties))
    if environment is None:
        raise AzureError(400, "InvalidEnvironmentId", "The managed environment of the app does not exist.")
    for identity in (put.body.get("identity") or {}).get("userAssignedIdentities") or {}:
        if put.emulator.resources.find(identity) is None:
            raise AzureError(400, "FailedIdentityOperation", f"The identity '{identity}' does not exist.")
        linked_access.require_assignable(put.emulator, put.oid, identity)
    configuration, template = put.properties.setdefault("configuration", {}), put.properties.get("template") or {}
    if len(template.get("containers") or []) != 1:
        raise AzureError(400, "InvalidParameterValueInContainerTemplate", "The local Azure runs one container an app.")
    secrets = {secret["name"] for secret in configuration.get("secrets") or []}
    for variable in template["containers"][0].get("env") or []:
        if variable.get("secretRef") and variable["secretRef"] not in secrets:
            raise AzureError(400, "ContainerAppSecretRefNotFound", f"There is no secret '{variable['secretRef']}'.")
    before = put.old.properties if put.old else {}
    changed = not before or before["template"] != template
    suffix = template.get("revisionSuffix") or uuid.uuid4().hex[:7]
    name = f"{put.name}--{suffix}" if changed else before["latestRevisionName"]
    if changed and put.emulator.resources.find(f"{put.id}/revisions/{name}"):
        raise AzureError(400, "RevisionSuffixInUse", f"A revision with the suffix '{suffix}' exists.")
    domain = environment.properties["defaultDomain"]
    put.properties.update(latestRevisionName=name, latestRevisionFqdn="")
    put.properties["latestReadyRevisionName"] = before.get("latestReadyRevisionName", "")
    if configuration.get("ingress"):
        configuration["ingress"]["fqdn"] = f"{put.name}.{domain}"
        put.properties["latestRevisionFqdn"] = f"{name}.{domain}"


def _environment_of(properties: dict[str, Any]) -> str:
    return str(properties.get("environmentId") or properties.get("managedEnvironmentId") or "")


def _deploy(emulator: EmulatorState, resource: Resource) -> None:
    emulator.container_apps.deploy(resource)


def _stop(emulator: EmulatorState, resource: Resource) -> None:
    emulator.container_apps.stop_all(resource.id)


def _sign_in(put: Put) -> None:
    if put.name != "current":
        raise AzureError(400, "InvalidAuthConfigName", "An app has one authConfig, named 'current'.")
    app = put.emulator.resources.find(parent_of(put.id))
    asked = ((put.properties.get("identityProviders") or {}).get("azureActiveDirectory") or {}).get(
        "registration"
    ) or {}
    secrets = (app.properties.get("configuration") or {}).get("secrets") or [] if app else []
    named = asked.get("clientSecretSettingName")
    if named and named not in {secret["name"] for secret in secrets}:
        raise AzureError(400, "AuthConfigSecretNotFound", f"The app has no secret '{named}'.")


KINDS = (
    Kind("Microsoft.App/managedEnvironments", _environment, name=r"[a-z0-9][a-z0-9-]{0,58}[a-z0-9]", seconds=1.0),
    Kind(
        APP,
        _app,
        settle=_deploy,
        dropped=_stop,
        name=r"[a-z](?!.*--)[a-z0-9-]{0,30}[a-z0-9]",
        name_error=("ContainerAppInvalidName", "Invalid ContainerApp name '{name}'."),
        seconds=0.5,
    ),
    Kind(f"{APP}/authConfigs", _sign_in, located=False),
    Kind("Microsoft.Insights/diagnosticSettings", located=False),
)
