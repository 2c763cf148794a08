"""Deploys infra/main.json or infra/chat.json if the template or its parameters changed or the resources drifted.

The forecast (what-if) uses the SDK's poller, unlike the deployment: it changes nothing, so that a lost response only
costs the forecast, and there is nothing to re-attach to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from phi_assets import bicep_template, markdown
from phi_assets.backends.azure.client import names, outputs, rest
from phi_assets.backends.azure.client.azure_errors import refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.outputs import Outputs
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.infrastructure import deleted_vaults, live_state, ownership, providers
from phi_assets.backends.azure.infrastructure.deployment_run import DeploymentRun
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log
from phi_assets.ports.infrastructure import CHAT_DEPLOYED

FORECAST_SECONDS = 180.0
NO_FORECAST = "Azure gave no forecast"
UNCHANGED = frozenset({"Ignore", "NoChange"})

HASH_TAG = "phi-template-hash"


@dataclass(frozen=True)
class Deployed:
    """The deployed outputs, and Azure's forecast of the changes if a deployment was needed."""

    outputs: Outputs
    planned: str


def ensure_chat(clients: AzureClients, log: Log) -> Deployed:
    """Deploy infra/chat.json unless its last deployment has this hash and nothing has drifted; then write nothing."""
    account, person = clients.account, clients.principal().object_id
    parameters = {"environmentName": account.name, "location": account.location}
    digest = bicep_template.deployment_hash(parameters, bicep_template.CHAT)
    name = names.deployment_name(account, outputs.CHAT)
    body = _body(account.location, bicep_template.CHAT, {**parameters, "principalId": person, "templateHash": digest})
    run = DeploymentRun(clients, name, digest, person, log)
    present = outputs.read(account, outputs.CHAT)
    present = present if present and present.template_hash == digest else run.finished()
    if present is not None:
        outputs.write(account, present, outputs.CHAT)
        live_state.forget()
        state, expected = live_state.read(clients, present), wanted(clients, purge_protection=False)
        drifted = live_state.drift(CHAT_DEPLOYED, state, expected)
        if not drifted:
            return Deployed(present, "nothing to deploy: the chat's last deployment has the hash of this template")
        log(f"repairing differences from the template: {'; '.join(drifted)}")
        _drop_orphans(clients, live_state.orphans(state, expected), log)
    providers.ensure_registered(clients, bicep_template.namespaces(bicep_template.CHAT), log)
    planned = forecast(clients, name, body, log)
    deployed = run.make(body)
    outputs.write(account, deployed, outputs.CHAT)
    live_state.forget()
    return Deployed(deployed, planned)


def ensure(clients: AzureClients, purge_protection: bool, log: Log) -> Deployed:
    """Deploy the template unless the group's tag has its hash and nothing has drifted; then write nothing."""
    name, body, digest = request_of(clients, purge_protection)
    run = DeploymentRun(clients, name, digest, clients.principal().object_id, log)
    present = _present(clients, run, digest)
    if present is not None:
        outputs.write(clients.account, present)
        live_state.forget()
        state, expected = live_state.read(clients, present), wanted(clients, purge_protection)
        drifted = live_state.drift([*present.resources, "role_assignments"], state, expected)
        if not drifted:
            return Deployed(
                present, "nothing to deploy: the group's tag has the hash of this template and these parameters"
            )
        log(f"repairing differences from the template: {'; '.join(drifted)}")
        _drop_orphans(clients, live_state.orphans(state, expected), log)
    providers.ensure_registered(clients, bicep_template.namespaces(), log)
    deleted_vaults.recover(clients, _vault(clients), log)
    planned = forecast(clients, name, body, log)
    deployed = run.make(body)
    outputs.write(clients.account, deployed)
    live_state.forget()
    return Deployed(deployed, planned)


def request_of(clients: AzureClients, purge_protection: bool) -> tuple[str, dict[str, Any], str]:
    """The deployment's name, the request body, and its hash."""
    account, principal = clients.account, clients.principal()
    parameters = {
        "environmentName": account.name,
        "location": account.location,
        "accessMode": account.access_mode,
        "purgeProtection": purge_protection,
    }
    digest = bicep_template.deployment_hash(parameters)
    parameters |= {"principalId": principal.object_id, "principalType": principal.kind}  # each person gets their roles
    body = _body(account.location, bicep_template.TEMPLATE, {**parameters, "templateHash": digest})
    return names.deployment_name(account), body, digest


def _body(location: str, template: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "location": location,
        "properties": {
            "mode": "Incremental",
            "template": bicep_template.template(template),
            "parameters": {name: {"value": value} for name, value in parameters.items()},
        },
    }


def wanted(clients: AzureClients, purge_protection: bool) -> live_state.Wanted:
    """The settings that the live state must match."""
    return live_state.Wanted(clients.account.access_mode, purge_protection, clients.principal().object_id)


def _vault(clients: AzureClients) -> str:
    name = names.names(clients.account)["key_vault"]
    return f"{clients.account.group_id}/providers/Microsoft.KeyVault/vaults/{name}"


def _drop_orphans(clients: AzureClients, role_ids: list[str], log: Log) -> None:
    """Delete role assignments of principals that were deleted: Azure refuses to reassign them."""
    from azure.core.exceptions import HttpResponseError

    for role_id in role_ids:
        log(f"removing a role assignment of another principal than the template's: {role_id}")
        version = bicep_template.api_version(rest.kind_of(role_id))
        delete = partial(clients.resources().resources.begin_delete_by_id, role_id, api_version=version)
        try:
            with_retries("removing a role assignment", lambda delete=delete: delete().result(), log)
        except HttpResponseError as e:
            raise refused(f"removing the role assignment {role_id}", e) from e


def _present(clients: AzureClients, run: DeploymentRun, digest: str) -> Outputs | None:
    """The outputs of the deployment of this hash; None when the group's tag differs, or the deployment did not succeed.

    Raises AzureRefused for a group that this project did not create: nothing is deployed into it, nor tagged.
    """
    account, group = clients.account, ownership.group(clients)
    if group is None:
        return None
    ownership.require_group(account, group)
    if group["tags"].get(HASH_TAG) != digest:
        return None
    stored = outputs.read(account)
    if stored and stored.template_hash == digest:
        return stored
    return run.finished()


def forecast(clients: AzureClients, name: str, body: Mapping[str, Any], log: Log) -> str:
    """A Markdown list of the changes that a deployment would make, or NO_FORECAST if Azure gives none."""
    from azure.core.exceptions import AzureError

    request = {
        "location": body["location"],
        "properties": {**body["properties"], "whatIfSettings": {"resultFormat": "ResourceIdOnly"}},
    }
    deployments = clients.deployments().deployments
    try:
        poller = deployments.begin_what_if_at_subscription_scope(name, request)  # type: ignore[arg-type]
        poller.wait(FORECAST_SECONDS)
        if not poller.done():
            log(f"no forecast of the deployment: Azure did not answer within {FORECAST_SECONDS:g} s")
            return NO_FORECAST
        changes = poller.result().changes or []
    except (AzureError, BackendError) as e:
        log(f"no forecast of the deployment: {str(e).splitlines()[0]}")
        return NO_FORECAST
    kinds = [(str(getattr(each.change_type, "value", each.change_type)), each.resource_id) for each in changes]
    lines = [f"- {markdown.text(kind)} {markdown.code(resource)}" for kind, resource in kinds]
    changed = [line for line in lines if line.split(" ")[1] not in UNCHANGED]
    return "\n".join(sorted(changed)) or "no change forecast"
